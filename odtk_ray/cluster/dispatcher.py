"""Carries out the decisions of `dispatch` on Ray: starts actors, makes calls, collects results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from odtk_ray.cluster.failures import (
    Loss,
    actor_node,
    could_not_start,
    exit_reason,
    loss_of,
    unfit_node,
    worker_error,
)
from odtk_ray.cluster.node_watch import ClusterView, NodeWatch, driver_lost, node_name
from odtk_ray.cluster.observer import Observer
from odtk_ray.cluster.shard_blocks import ShardRef
from odtk_ray.cluster.worker_calls import EndedCall, WorkerCalls
from odtk_ray.dispatch.dispatch import Dispatch
from odtk_ray.dispatch.suspects import RESUME
from odtk_ray.dispatch.worker_state import Assignment, WorkerState
from odtk_ray.errors import OdtkError
from odtk_ray.moments import Moment, note_moment
from odtk_ray.plural import counted
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.storage.retry import OUTAGE_TOLD

if TYPE_CHECKING:
    from odtk_ray.cluster.worker_calls import StartActor

# Workers are asked for their progress this often, in seconds: often enough for a live bar. Large
# fleets are asked more slowly, so that the answers leave the driver time for its work.
_WATCH_INTERVAL = 0.5
_WATCHED_AT_ONCE = 64
# Seconds after which a remark mentions workers that still wait for GPUs or cores.
_PATIENCE = 60.0
# Seconds after which a worker that does not answer, on a node that does, is taken for lost.
_UNREACHABLE = 120.0


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
        watch: tells which nodes end, and when the cluster does; None notices less.
        room: returns how many workers the cluster has room for now; None keeps the number.
        avoid: returns the nodes whose workers get no more work.
        leave_out: called with what a node or a GPU cannot do; returns the room that is left.
    """

    def __init__(
        self,
        start: StartActor,
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
        watch: NodeWatch | None = None,
        room: Callable[[], int] | None = None,
        avoid: Callable[[ClusterView], frozenset[str]] = lambda view: view.draining,
        leave_out: Callable[[OdtkError], int] = lambda _: 0,
    ) -> None:
        self._calls = WorkerCalls(start, refs, epoch)
        self._count, self._rows, self._timeout = workers, rows, shard_timeout
        self._commit, self._progress, self._warn = commit, progress, warn
        self._observer = observer
        self._watch, self._room = watch, room
        self._avoid, self._leave_out = avoid, leave_out
        self._dispatch: Dispatch
        self._view = ClusterView({})
        self._outage_told = False
        self._unreachable: dict[WorkerState, float] = {}  # since when

    def run(self, shards: Iterable[int]) -> list[str]:
        """Work through the shards, then end the workers.

        Returns:
            the names of the workers that were ready at the end.

        Raises:
            OdtkError: no worker is left, or a worker raised: committed shards stay committed.
        """
        now = time.monotonic()
        self._dispatch = Dispatch(shards, self._rows, self._count, now, self._timeout)
        try:
            for worker in self._dispatch.workers:
                self._calls.start(worker)
            self._work(now)
            ready = [worker for worker in self._dispatch.workers if worker.ready]
            if self._observer.traces:
                for worker, noted in self._calls.moments(ready):
                    self._observer.moments(worker, noted)
            return [worker.name for worker in ready]
        finally:
            self._calls.close()
            self._observer.close()

    def _work(self, started: float) -> None:
        dispatch, asked, patient = self._dispatch, started, True
        while dispatch.unfinished:
            for assignment in dispatch.assignments(time.monotonic()):
                self._calls.submit(assignment)
            for assignment in dispatch.recalls():
                self._calls.recall(assignment)
            self._collect()
            now = time.monotonic()
            pace = max(1.0, len(dispatch.workers) / _WATCHED_AT_ONCE)
            if now - asked > _WATCH_INTERVAL * pace:
                asked = now
                self._ask(now)
            if self._watch is not None and (view := self._watch.latest()) is not None:
                self._see(view, now)
            if patient and now - started > _PATIENCE:
                patient = False
                if late := sum(not worker.ready for worker in dispatch.workers):
                    self._warn(
                        f"{late} of {counted(len(dispatch.workers), 'worker')} not ready after "
                        f"{_PATIENCE:.0f} s: waiting for free GPUs or cores, or loading slowly"
                    )

    def _collect(self) -> None:
        """Wait briefly for calls to end; commit all receipts that have arrived together."""
        receipts: list[Receipt] = []
        done = self._calls.ended(_WATCH_INTERVAL)
        try:
            for ref in done:
                # One that is gone belonged to a worker that another call has shown to be lost.
                if (call := self._calls.take(ref)) and (receipt := self._end(call)):
                    receipts.append(receipt)
        finally:  # finished shards count, even if another worker ends the run
            if receipts:
                self._commit(*receipts)
                note_moment(Moment.COMMITTED)
            if done:
                self._progress(self._dispatch.images_in_progress, self._dispatch.windows_done)

    def _end(self, call: EndedCall) -> Receipt | None:
        """Process the end of a call; return the receipt if it ended a shard."""
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

        worker, assignment, _ = call
        try:
            value = ray.get(call.ref)
        except (RayActorError, OutOfMemoryError) as error:
            self._gone(worker, error)
            return None
        except RayTaskError as error:
            if worker.ready:
                raise worker_error(error) from error
            self._unfit(worker, error)
            return None
        except RayError as error:
            raise OdtkError("a worker cannot continue", exit_reason(error), RESUME) from error
        if assignment is not None:
            return self._returned(assignment, value)
        if worker.reachable:
            self._dispatch.reported(worker, value, time.monotonic())
        else:  # it is there again, and may have missed calls
            self._replace(worker)
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

    def _ask(self, now: float) -> None:
        """Replace workers that hang, ask the others for their progress, and show it."""
        dispatch = self._dispatch
        limit = dispatch.hang_limit
        for worker in dispatch.hanging(now):
            why = f"no image was done for {limit:,.0f} s"
            self._crashed(worker, why, "hangs")
        for worker in dispatch.workers:
            if worker.ready and worker.assignments:
                self._calls.ask(worker)
        self._progress(dispatch.images_in_progress, dispatch.windows_done)
        self._observer.queue(dispatch.pending)
        since = [w.waiting_since for w in dispatch.workers if w.waiting_since is not None]
        if not since:
            self._outage_told = False
        elif now - min(since) > OUTAGE_TOLD and not self._outage_told:
            self._outage_told = True
            waiting = counted(len(since), "worker waits", "workers wait")
            self._warn(f"storage is away since {now - min(since):.0f} s: {waiting} for it")

    def _see(self, view: ClusterView, now: float) -> None:
        """Process which nodes there are now."""
        dispatch, before, self._view = self._dispatch, self._view, view
        for node in before.alive - view.alive:
            self._node_lost(node)
        for worker in [w for w, since in self._unreachable.items() if now - since > _UNREACHABLE]:
            self._warn(f"{worker.name} does not answer any more, and is started elsewhere")
            self._replace(worker)
        for node in view.draining - before.draining:
            if count := sum(worker.node == node for worker in dispatch.workers):
                moved = counted(count, "worker is", "workers are")
                self._warn(f"{node_name(view.nodes.get(node))} is about to end: its {moved} moved")
        for worker in dispatch.drain(self._avoid(view)):
            self._replace(worker)
        if self._room is not None:
            for worker in dispatch.grow(self._room(), now):
                self._calls.start(worker)

    def _gone(self, worker: WorkerState, error: Exception) -> None:
        """Process that a worker's process has ended, or does not answer."""
        loss = loss_of(error)
        if loss is Loss.DRIVER:
            raise driver_lost() from error
        if loss is Loss.UNKNOWN:  # asking again shows after some seconds what has become of it
            self._dispatch.unreachable(worker)
            self._unreachable.setdefault(worker, time.monotonic())
            self._calls.ask(worker)
        elif loss is Loss.NODE:
            self._node_lost(self._node(worker), worker)
        elif could_not_start(error):
            self._unfit(worker, error)
        else:
            self._crashed(worker, exit_reason(error))

    def _node(self, worker: WorkerState) -> str:
        """Return the node that a worker is on; empty while it waits for one."""
        return worker.node if worker.ready else actor_node(self._calls.actor(worker))

    def _node_lost(self, node: str, worker: WorkerState | None = None) -> None:
        """Process the loss of a node with all its workers; `worker` is known to be one."""
        lost = [w for w in self._dispatch.workers if w is worker or self._node(w) == node]
        if lost:
            again = counted(len(lost), "worker starts", "workers start")
            self._warn(f"{node_name(self._view.nodes.get(node))} is lost: its {again} again")
        for each in lost:
            self._replace(each)

    def _replace(self, worker: WorkerState) -> None:
        """Start a worker again that was lost for no fault of its images."""
        self._unreachable.pop(worker, None)
        self._calls.forget(worker)
        self._dispatch.lost(worker)
        self._calls.start(worker)

    def _unfit(self, worker: WorkerState, error: Exception) -> None:
        """Process a worker whose node or GPU cannot do its part; start it where there is room."""
        problem = unfit_node(error, self._calls.actor(worker))
        self._calls.forget(worker)
        if self._dispatch.dismissed(worker, problem, self._leave_out(problem)):
            self._calls.start(worker)

    def _crashed(self, worker: WorkerState, why: str, how: str = "died") -> None:
        """Process the crash of a worker; start another unless that is pointless."""
        self._unreachable.pop(worker, None)
        self._observer.crash(worker, why)
        self._calls.forget(worker)
        if self._dispatch.crashed(worker, why):
            self._warn(f"{worker.name or 'a worker'} {how} and is replaced: {why}")
            self._calls.start(worker)
        else:
            left = len(self._dispatch.workers)
            self._warn(f"a worker was given up, {counted(left, 'is', 'are')} left: {why}")
