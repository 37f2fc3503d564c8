"""Carries out the decisions of `dispatch` on Ray: starts actors, makes calls, collects results."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.cluster.actor import WATCH
from odtk_ray.cluster.failures import (
    constructor_error,
    exit_reason,
    incompatible_gpu,
    worker_error,
)
from odtk_ray.cluster.observer import Observer
from odtk_ray.cluster.shard_blocks import ShardRef
from odtk_ray.dispatch.dispatch import Dispatch
from odtk_ray.dispatch.suspects import RESUME
from odtk_ray.dispatch.worker_state import Assignment, Progress, WorkerState
from odtk_ray.engines.loader import IncompatibleGpu
from odtk_ray.errors import OdtkError
from odtk_ray.moments import Moment, note_moment
from odtk_ray.plural import counted
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.worker.shard_work import ShardWork

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

# Workers are asked for their progress this often, in seconds: often enough for a live bar. Large
# fleets are asked more slowly, so that the answers leave the driver time for its work.
_WATCH_INTERVAL = 0.5
_WATCHED_AT_ONCE = 64
# Seconds between two checks whether the cluster has room for more workers.
_GROW_INTERVAL = 5.0
# Seconds after which a remark mentions workers that still wait for GPUs or cores.
_PATIENCE = 60.0


class Dispatcher:
    """Feeds shards to workers until each one is committed.

    Args:
        start: starts a worker; returns its actor, and the call that ends when it is ready.
        workers: number of workers.
        refs: position of each shard's rows in the object store.
        rows: record indices of each shard, in processing order.
        epoch: the driver's number, so that file names of different drivers differ.
        commit: called with the receipts of shards that are done, one or several at a time.
        progress: called with the number of images done in shards that are not committed yet, and
            of windows done by all workers, at least every second.
        warn: receives remarks about workers.
        observer: records finished shards and crashes.
        shard_timeout: seconds without an image done after which a worker hangs; None is ten times
            the median shard, at least 120.
        room: returns how many workers the cluster has room for now; None keeps the number.
        leave_out: called with a GPU that cannot take part; returns the room that is left.
    """

    def __init__(
        self,
        start: Callable[[], tuple[ActorHandle[Any], ObjectRef[Progress]]],
        workers: int,
        refs: dict[int, ShardRef],
        rows: dict[int, NDArray[np.int64]],
        *,
        epoch: int,
        commit: Callable[..., object],
        progress: Callable[[int, int], None],
        warn: Callable[[str], None],
        observer: Observer,
        shard_timeout: float | None = None,
        room: Callable[[], int] | None = None,
        leave_out: Callable[[IncompatibleGpu], int] = lambda _: 0,
    ) -> None:
        self._start = start
        self._count = workers
        self._refs = refs
        self._rows = rows
        self._epoch = epoch
        self._commit = commit
        self._progress = progress
        self._warn = warn
        self._observer = observer
        self._timeout = shard_timeout
        self._room = room
        self._leave_out = leave_out
        self._actors: dict[WorkerState, ActorHandle[Any]] = {}
        self._dispatch: Dispatch
        # Calls that have not ended; a call without an assignment asks for the worker's progress.
        self._calls: dict[ObjectRef[Any], tuple[WorkerState, Assignment | None]] = {}
        self._asked: set[WorkerState] = set()

    def run(self, shards: Iterable[int]) -> None:
        """Work through the shards, then end the workers.

        Raises:
            OdtkError: no worker is left, or a worker raised: committed shards stay committed.
        """
        import ray

        now = time.monotonic()
        self._dispatch = Dispatch(shards, self._rows, self._count, now, self._timeout)
        try:
            for worker in self._dispatch.workers:
                self._start_actor(worker)
            self._work(now)
            if self._observer.traces:
                self._hear_moments()
        finally:
            for actor in self._actors.values():
                ray.kill(actor)  # frees its cores or GPU
            self._observer.close()

    def _work(self, started: float) -> None:
        dispatch, watched, grown, patient = self._dispatch, started, started, True
        while dispatch.unfinished:
            self._make_calls()
            self._collect()
            now = time.monotonic()
            pace = max(1.0, len(dispatch.workers) / _WATCHED_AT_ONCE)
            if now - watched > _WATCH_INTERVAL * pace:
                watched = now
                self._watch(now)
            if self._room is not None and now - grown > _GROW_INTERVAL:
                grown = now
                for worker in dispatch.grow(self._room(), now):
                    self._start_actor(worker)
            if patient and now - started > _PATIENCE:
                patient = False
                if late := sum(not worker.ready for worker in dispatch.workers):
                    self._warn(
                        f"{late} of {counted(len(dispatch.workers), 'worker')} not ready after "
                        f"{_PATIENCE:.0f} s: waiting for free GPUs or cores, or loading slowly"
                    )

    def _start_actor(self, worker: WorkerState) -> None:
        self._actors[worker], ready = self._start()
        self._calls[ready] = worker, None
        self._asked.add(worker)

    def _ask(self, worker: WorkerState) -> None:
        """Ask a worker for its progress."""
        call = self._actors[worker].progress.options(concurrency_group=WATCH)
        self._calls[call.remote()] = worker, None
        self._asked.add(worker)

    def _make_calls(self) -> None:
        for assignment in self._dispatch.assignments(time.monotonic()):
            self._submit(assignment)
        for assignment in self._dispatch.recalls():
            recall = self._actors[assignment.worker].recall.options(concurrency_group=WATCH)
            recall.remote(assignment.task.shard)

    def _submit(self, assignment: Assignment) -> None:
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

    def _collect(self) -> None:
        """Wait briefly for calls to end; commit all receipts that have arrived together."""
        import ray

        refs = list(self._calls)
        done, _ = ray.wait(refs, num_returns=1, timeout=_WATCH_INTERVAL)
        if done and len(refs) > 1:
            done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        receipts: list[Receipt] = []
        try:
            for ref in done:
                receipt = self._end_call(ref)
                if receipt is not None:
                    receipts.append(receipt)
        finally:  # finished shards count, even if another worker ends the run
            if receipts:
                self._commit(*receipts)
                note_moment(Moment.COMMITTED)
            if done:
                self._progress(self._dispatch.images_in_progress, self._dispatch.windows_done)

    def _end_call(self, ref: ObjectRef[Any]) -> Receipt | None:
        """Process the end of a call; return the receipt if it ended a shard."""
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

        if ref not in self._calls:
            return None  # another call showed that its worker is gone
        worker, assignment = self._calls.pop(ref)
        try:
            value = ray.get(ref)
        except (RayActorError, OutOfMemoryError) as error:
            self._crashed(worker, error)
            return None
        except RayTaskError as error:
            if (gpu := incompatible_gpu(error)) is None:
                raise worker_error(error) from error
            self._dismissed(worker, gpu)
            return None
        except RayError as error:
            raise OdtkError("a worker cannot continue", exit_reason(error), RESUME) from error
        if assignment is not None:
            return self._returned(assignment, value)
        self._asked.discard(worker)
        self._dispatch.reported(worker, value, time.monotonic())
        return None

    def _returned(self, assignment: Assignment, receipt: Receipt | None) -> Receipt | None:
        """Process the return value of an assignment's call."""
        now = time.monotonic()
        if assignment.task.row is not None:
            self._dispatch.probed(assignment, now)
        elif receipt is None:
            self._dispatch.handed_back(assignment, now)
        elif (seconds := self._dispatch.finished(assignment, now)) is not None:
            self._observer.shard(assignment.worker, receipt, seconds)
            return receipt
        return None

    def _watch(self, now: float) -> None:
        """Replace workers that hang, ask the others for their progress, and show it."""
        dispatch = self._dispatch
        limit = dispatch.hang_limit
        for worker in dispatch.hanging(now):
            why = f"no image was done for {limit:,.0f} s"
            self._warn(f"{worker.name} hangs ({why}) and is replaced")
            self._crashed(worker, TimeoutError(why))
        for worker in dispatch.workers:
            if worker.ready and worker.assignments and worker not in self._asked:
                self._ask(worker)
        self._progress(dispatch.images_in_progress, dispatch.windows_done)
        self._observer.queue(dispatch.pending)

    def _hear_moments(self) -> None:
        """Ask the workers for the moments of their starts; some may not answer in time."""
        import ray
        from ray.exceptions import RayError

        calls = {
            self._actors[worker].moments.options(concurrency_group=WATCH).remote(): worker
            for worker in self._dispatch.workers
            if worker.ready
        }
        refs = list(calls)
        answered = ray.wait(refs, num_returns=len(refs), timeout=_WATCH_INTERVAL)[0] if refs else []
        for ref in answered:
            with contextlib.suppress(RayError):
                self._observer.moments(calls[ref], ray.get(ref))

    def _lost(self, worker: WorkerState) -> None:
        """Forget a worker's actor and its calls, and end what may be left of it."""
        import ray

        ray.kill(self._actors.pop(worker))  # one that was only unreachable must not keep its GPU
        self._asked.discard(worker)
        self._calls = {ref: call for ref, call in self._calls.items() if call[0] is not worker}

    def _dismissed(self, worker: WorkerState, gpu: IncompatibleGpu) -> None:
        """Process a worker whose GPU cannot do what was planned."""
        self._lost(worker)
        if self._dispatch.dismissed(worker, gpu, self._leave_out(gpu)):
            self._start_actor(worker)

    def _crashed(self, worker: WorkerState, error: Exception) -> None:
        """Process the loss of a worker; start another unless that is pointless."""
        why = exit_reason(error)
        self._observer.crash(worker, why)
        self._lost(worker)
        if (cause := constructor_error(error)) is not None:
            raise cause from error
        if self._dispatch.crashed(worker, why):
            self._start_actor(worker)
        else:
            left = len(self._dispatch.workers)
            self._warn(f"a worker was given up, {counted(left, 'is', 'are')} left: {why}")
