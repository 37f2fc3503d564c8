"""The end of a run: who takes one of the last shards, and which shards are recalled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from odtk_ray.dispatch.worker_state import Assignment, WorkerState

# Below any real difference; without it equal workers could each leave a shard to the others.
_ROUNDING = 1e-9


class Endgame:
    """Decides whether a worker takes a shard: only if it ends it before the others have ended all.

    Reads the workers' loads once and follows them while shards are handed out, because a thousand
    workers may ask in one round.

    Args:
        workers: all workers of the run.
    """

    def __init__(self, workers: Sequence[WorkerState]) -> None:
        known = [worker for worker in workers if worker.serves and worker.pace]
        self._rows = {worker: row for row, worker in enumerate(known)}
        self._paces = np.array([worker.pace for worker in known], np.float64)
        self._loads = np.array([worker.load for worker in known], np.float64)

    def assign(self, worker: WorkerState, images: int) -> None:
        """Add images to a worker's load."""
        if worker in self._rows:
            self._loads[self._rows[worker]] += images

    def worthwhile(self, worker: WorkerState, images: int, shards: int) -> bool:
        """Return whether a worker should take one more shard.

        It should not if the others end all that is left before it would end this one.

        Args:
            worker: the worker.
            images: number of images in the shard.
            shards: number of shards that are left, this one included.
        """
        if not worker.pace:
            return True
        end = (worker.load + images) * worker.pace
        # Shards that each worker ends strictly earlier, so that one of several equal ones takes it.
        earlier = np.ceil((end / self._paces - self._loads) / images - _ROUNDING) - 1
        if worker in self._rows:
            earlier[self._rows[worker]] = 0
        return bool(earlier.clip(min=0).sum() < shards)


def choose_recalls(workers: Sequence[WorkerState]) -> list[Assignment]:
    """Choose shards that wait behind others, for idle workers that are not slower.

    The fastest idle worker is given the shard of the worker with the longest work to do.
    """
    idle = sorted(w.pace or 0.0 for w in workers if w.serves and not w.assignments)
    if not idle:
        return []
    waiting = []
    for worker in (worker for worker in workers if worker.reachable):
        last = worker.assignments[-1:]
        if len(worker.assignments) > 1 and not last[0].recalled and not last[0].task.alone:
            waiting.append((worker.load * (worker.pace or 0.0), last[0]))
    waiting.sort(key=lambda item: -item[0])
    left = [assignment for _, assignment in waiting]
    chosen = []
    for pace in idle:
        found = next((a for a in left if pace <= (a.worker.pace or pace)), None)
        if found is None:
            break  # those that follow are slower still
        left.remove(found)
        chosen.append(found)
    return chosen
