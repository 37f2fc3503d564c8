"""Decides who gets which shard, as a state machine: events in, assignments and recalls out.

The caller starts the processes, makes the calls and passes in all times; see
`cluster/dispatcher.py`. Shards go to idle workers. Shards of a worker that died or hung go to
`suspects`; those of a worker that was lost with its node are handed out again as they were. A
worker whose node is about to end gets no more. Near the end `endgame` decides who takes a shard,
and shards that wait behind others are recalled for workers that have nothing to do.
"""

from __future__ import annotations

import itertools
import statistics
from collections import deque
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from odtk_ray.dispatch.endgame import Endgame, choose_recalls
from odtk_ray.dispatch.suspects import RESUME, Suspects
from odtk_ray.dispatch.tasks import Task
from odtk_ray.dispatch.worker_state import DEATHS_IN_A_ROW, DEPTH, Assignment, Progress, WorkerState
from odtk_ray.errors import OdtkError

# This many crashes in a row, or this many for each worker where there are many, with nothing
# finished in between, are not the fault of images. A worker is given up before that.
CRASHES_IN_A_ROW, CRASHES_A_WORKER = 20, DEATHS_IN_A_ROW + 1
# A worker hangs if no image was done for this many seconds, and for this many median shards.
HANG_SECONDS, HANG_SHARDS = 120.0, 10
# The endgame begins when at most this many shards per worker are left.
ENDGAME_SHARDS = 16
# The driver calls twice a second; a longer pause does not count towards hang detection.
LONGEST_PAUSE = 5.0


class Dispatch:
    """Decides who gets which shard, when a worker hangs, and what a crash means.

    Args:
        shards: the shards to be done, in the order in which they are handed out.
        rows: record indices of each shard, in processing order.
        workers: number of workers that are being started.
        now: the time.
        shard_timeout: seconds without an image done after which a worker hangs; None is ten times
            the median shard, at least 120.

    Attributes:
        workers: the workers that run or are being started.
        unfinished: numbers of the shards that are not done.
    """

    def __init__(
        self,
        shards: Iterable[int],
        rows: Mapping[int, NDArray[np.int64]],
        workers: int,
        now: float,
        shard_timeout: float | None = None,
    ) -> None:
        self._pending = deque(Task(shard, len(rows[shard])) for shard in shards)
        self._suspects = Suspects(rows)
        self._numbers = itertools.count()
        self._attempts = itertools.count(1)
        self.workers = [WorkerState(next(self._numbers), now) for _ in range(workers)]
        self.unfinished = {task.shard for task in self._pending}
        self._slots = workers  # of workers, those given up included
        self._timeout = shard_timeout
        self._crashes = 0  # in a row
        self._lost_windows = 0  # done by processes that are gone
        self._draining: frozenset[str] = frozenset()  # nodes
        self._seconds: deque[float] = deque(maxlen=256)  # of the last shards, for their median
        self._last_call = now

    @property
    def pending(self) -> int:
        """Number of shards that no worker has yet, suspects not counted."""
        return len(self._pending)

    @property
    def images_in_progress(self) -> int:
        """Images done in shards that are not finished, as last reported."""
        done: dict[int, int] = {}
        for worker in self.workers:
            held = {assignment.task.shard for assignment in worker.assignments}
            done |= {shard: images for shard, images in worker.done.items() if shard in held}
        return sum(done.values())

    @property
    def windows_done(self) -> int:
        """Windows of tiled pictures done, as last reported; those that a crash undid count too."""
        return self._lost_windows + sum(worker.tiles for worker in self.workers)

    def assignments(self, now: float) -> list[Assignment]:
        """Hand out suspects, then shards; every worker gets its first before any its second."""
        self._extend_deadlines(now)
        few = 0 < len(self._pending) <= ENDGAME_SHARDS * len(self.workers)
        endgame = Endgame(self.workers) if few else None
        made: list[Assignment] = []
        for level in range(DEPTH):
            for worker in self.workers:
                if len(worker.assignments) > level:
                    continue
                queue = self._suspects.queue or self._pending
                if not queue:
                    return made
                if not (worker.accepts(queue[0]) and self._wants(worker, queue[0], endgame)):
                    continue
                task = queue.popleft()
                if endgame is not None:
                    endgame.assign(worker, task.images)
                made.append(worker.assign(task, next(self._attempts), now))
        return made

    def _wants(self, worker: WorkerState, task: Task, endgame: Endgame | None) -> bool:
        """Return whether the worker should take the task: always, until few shards are left."""
        if task.alone or endgame is None:
            return True
        left = len(self._pending)
        if worker.assignments and left <= len(self.workers):
            return False
        return endgame.worthwhile(worker, task.images, left)

    def recalls(self) -> list[Assignment]:
        """Recall shards from draining nodes, and for idle workers once nothing is to hand out."""
        chosen = [
            assignment
            for worker in self.workers
            if worker.draining and worker.reachable
            for assignment in worker.assignments
            if not (assignment.recalled or assignment.task.alone)
        ]
        if not (chosen or self._pending or self._suspects.queue):
            chosen = choose_recalls(self.workers)
        for assignment in chosen:
            assignment.recalled = True
        return chosen

    def reported(self, worker: WorkerState, said: Progress, now: float) -> None:
        """Process a worker's progress; the first report means that it is ready."""
        worker.note_progress(said, now)
        worker.draining = worker.node in self._draining

    def finished(self, assignment: Assignment, now: float) -> float | None:
        """Process the end of a shard.

        Returns:
            seconds that the shard itself took; None if it does not count, because the worker was
            replaced meanwhile or has delivered it before.
        """
        self._extend_deadlines(now)
        if not self._take_back(assignment, now):
            return None
        seconds = assignment.worker.measure(assignment, now)
        if not assignment.interrupted:
            self._seconds.append(seconds)
        self.unfinished.remove(assignment.task.shard)
        return seconds

    def probed(self, assignment: Assignment, now: float) -> None:
        """Process a probe that did not crash its worker."""
        if self._take_back(assignment, now):
            self._suspects.probed(assignment.task, crashed=False)

    def handed_back(self, assignment: Assignment, now: float) -> None:
        """Process a recalled shard that a worker handed back."""
        if self._take_back(assignment, now):
            self._pending.appendleft(assignment.task)

    def _take_back(self, assignment: Assignment, now: float) -> bool:
        current = assignment.worker.take_back(assignment, now)
        if current:
            self._crashes = 0
        return current

    def crashed(self, worker: WorkerState, why: str) -> bool:
        """Process the death or hang of a worker.

        Returns:
            whether to start another process for it; False if it is given up.

        Raises:
            OdtkError: no worker is left, or the workers crash on every shard.
        """
        self._crashes += 1
        if self._crashes >= max(CRASHES_IN_A_ROW, CRASHES_A_WORKER * self._slots):
            raise OdtkError("the workers crash on every shard", why, RESUME)
        worker.deaths += 1
        self._lost_windows += worker.tiles
        for task in worker.lose():
            self._suspects.crashed(task)
        if worker.deaths < DEATHS_IN_A_ROW:
            return True
        self.workers.remove(worker)
        if not self.workers:
            why = f"each died {DEATHS_IN_A_ROW} times in a row: {why}"
            raise OdtkError("no worker is left", why, RESUME)
        return False

    def lost(self, worker: WorkerState) -> None:
        """Process the loss of a worker with its node; another process is started for it."""
        self._lost_windows += worker.tiles
        for task in reversed(worker.lose()):
            if task.alone:
                self._suspects.lost(task)
            else:
                self._pending.appendleft(task)

    def unreachable(self, worker: WorkerState) -> None:
        """Process that a worker does not answer: what it holds waits for `lost` or `crashed`."""
        worker.reachable = False

    def drain(self, nodes: Collection[str]) -> list[WorkerState]:
        """Give no more work to workers on these nodes, which are about to end.

        Returns:
            the workers there that have nothing to do any more: they can be started elsewhere.
        """
        self._draining = frozenset(nodes)
        for worker in self.workers:
            worker.draining = worker.ready and worker.node in self._draining
        return [w for w in self.workers if w.draining and w.reachable and not w.assignments]

    def dismissed(self, worker: WorkerState, error: OdtkError, room: int) -> bool:
        """Process a worker that cannot run where it was started.

        Args:
            worker: the worker, which was not ready.
            error: the reason.
            room: number of workers that there is room for elsewhere.

        Returns:
            whether to start it again, elsewhere.

        Raises:
            OdtkError: no worker is left.
        """
        if room >= len(self.workers):
            return True
        self.workers.remove(worker)
        self._slots -= 1
        if not self.workers:
            raise OdtkError("no worker is left", error.sentence, error.hint)
        return False

    def grow(self, room: int, now: float) -> list[WorkerState]:
        """Add workers, no more than there is room for and than shards wait for none that starts."""
        starting = sum(not worker.ready for worker in self.workers)
        count = max(0, min(room - self._slots, len(self._pending) - starting))
        new = [WorkerState(next(self._numbers), now) for _ in range(count)]
        self._slots += count
        self.workers += new
        return new

    def _extend_deadlines(self, now: float) -> None:
        """Leave a long pause of the driver, such as a commit, out of hang detection.

        It is time that the driver spent elsewhere: workers cannot have been heard meanwhile, and
        how long their shards took is not known.
        """
        pause, self._last_call = now - self._last_call, now
        if pause <= LONGEST_PAUSE:
            return
        for worker in self.workers:
            worker.last_progress = min(now, worker.last_progress + pause)
            for assignment in worker.assignments:
                assignment.interrupted = True

    @property
    def hang_limit(self) -> float:
        """Seconds without an image done after which a worker hangs."""
        median = statistics.median(self._seconds) if self._seconds else 0.0
        return self._timeout or max(HANG_SECONDS, HANG_SHARDS * median)

    def hanging(self, now: float) -> list[WorkerState]:
        """Return the workers that hold something and have shown no progress for too long."""
        self._extend_deadlines(now)
        limit = self.hang_limit
        return [
            w
            for w in self.workers
            if w.ready and w.reachable and w.assignments and now - w.last_progress > limit
        ]
