"""The actors of a run's workers, and the calls to them that have not ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from odtk_ray.cluster.actor import WATCH
from odtk_ray.cluster.shard_blocks import ShardRef
from odtk_ray.dispatch.worker_state import Assignment, Progress, WorkerState
from odtk_ray.moments import Moment
from odtk_ray.worker.shard_work import ShardWork

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

    StartActor = Callable[[], tuple[ActorHandle[Any], ObjectRef[Progress]]]

# Seconds that workers have to tell the moments of their starts.
_MOMENTS_PATIENCE = 0.5


class EndedCall(NamedTuple):
    """A call that has ended.

    Attributes:
        worker: whose call it was.
        assignment: that it carried out; None where it asked for the worker's progress.
        ref: its result, or its exception.
    """

    worker: WorkerState
    assignment: Assignment | None
    ref: ObjectRef[Any]


class WorkerCalls:
    """Starts actors and calls them.

    Args:
        start: starts an actor; returns it, and the call that ends when it is ready.
        refs: position of each shard's rows in the object store.
        epoch: the driver's number, so that file names of different drivers differ.
    """

    def __init__(self, start: StartActor, refs: Mapping[int, ShardRef], epoch: int) -> None:
        self._start, self._refs, self._epoch = start, refs, epoch
        self._actors: dict[WorkerState, ActorHandle[Any]] = {}
        self._calls: dict[ObjectRef[Any], tuple[WorkerState, Assignment | None]] = {}
        self._asked: set[WorkerState] = set()

    def start(self, worker: WorkerState) -> None:
        """Start the actor of a worker; it reports when it is ready."""
        self._actors[worker], ready = self._start()
        self._calls[ready] = worker, None
        self._asked.add(worker)

    def actor(self, worker: WorkerState) -> ActorHandle[Any]:
        """Return the actor of a worker."""
        return self._actors[worker]

    def ask(self, worker: WorkerState) -> None:
        """Ask a worker for its progress, unless that is under way."""
        if worker in self._asked:
            return
        call = self._actors[worker].progress.options(concurrency_group=WATCH)
        self._calls[call.remote()] = worker, None
        self._asked.add(worker)

    def recall(self, assignment: Assignment) -> None:
        """Ask a worker to hand back a shard that it has not begun."""
        recall = self._actors[assignment.worker].recall.options(concurrency_group=WATCH)
        recall.remote(assignment.task.shard)

    def submit(self, assignment: Assignment) -> None:
        """Have a worker carry out an assignment."""
        task, actor = assignment.task, self._actors[assignment.worker]
        where = self._refs[task.shard]
        if task.row is not None:
            ref = actor.probe.remote(where.block, where.offset + task.row)
        else:
            attempt = f"{self._epoch}.{assignment.attempt}"
            skip = frozenset(task.skip)
            work = ShardWork(where.offset, where.length, task.shard, attempt, skip, task.singly)
            ref = actor.run.remote(where.block, work)
        self._calls[ref] = assignment.worker, assignment

    def ended(self, seconds: float) -> list[ObjectRef[Any]]:
        """Wait at most so long for a call to end; return all that have."""
        import ray

        refs = list(self._calls)
        done, _ = ray.wait(refs, num_returns=1, timeout=seconds)
        if done and len(refs) > 1:
            done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        return done

    def take(self, ref: ObjectRef[Any]) -> EndedCall | None:
        """Take out a call that has ended; None if its worker was forgotten meanwhile."""
        if ref not in self._calls:
            return None
        worker, assignment = self._calls.pop(ref)
        if assignment is None:
            self._asked.discard(worker)
        return EndedCall(worker, assignment, ref)

    def forget(self, worker: WorkerState) -> None:
        """Forget a worker's actor and its calls, and end what may be left of it."""
        import ray

        ray.kill(self._actors.pop(worker))  # one that was only unreachable must not keep its GPU
        self._asked.discard(worker)
        self._calls = {ref: call for ref, call in self._calls.items() if call[0] is not worker}

    def moments(
        self, workers: Iterable[WorkerState]
    ) -> list[tuple[WorkerState, Mapping[Moment, float]]]:
        """Ask workers for the moments of their starts; some may not answer in time."""
        import ray
        from ray.exceptions import RayError

        calls = {
            self._actors[worker].moments.options(concurrency_group=WATCH).remote(): worker
            for worker in workers
        }
        refs, heard = list(calls), []
        answered = (
            ray.wait(refs, num_returns=len(refs), timeout=_MOMENTS_PATIENCE)[0] if refs else []
        )
        for ref in answered:
            with contextlib.suppress(RayError):
                heard.append((calls[ref], ray.get(ref)))
        return heard

    def close(self) -> None:
        """End all actors, which frees their cores and GPUs."""
        import ray

        for actor in self._actors.values():
            ray.kill(actor)
