"""The driver's queue: keeps every worker busy, and gets through crashes without losing a shard.

After a crash every shard that the worker had in hand is a suspect and is run again alone. A shard
that crashes twice alone has its images probed one by one; those that crash twice are recorded as
failed, and the rest is detected one by one, since some pictures crash only together.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.cluster.workers import DEPTH, WATCH
from odtk_ray.data.shards import ShardRef
from odtk_ray.errors import OdtkError
from odtk_ray.results.shardfile import Receipt

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

# Images done are asked for this often, in seconds: often enough for a live bar.
_WATCH_INTERVAL = 0.5
_CRASHES_ALONE = 2
# A worker that dies this often before it is ready is given up.
_DEATHS_IN_A_ROW = 3
# So many crashes with nothing finished in between are no fault of the images.
_CRASHES_IN_A_ROW = 20
# Seconds after which a worker that still waits for its GPU or cores is worth a word.
_PATIENCE = 60.0
_RESUME = "what is committed stays: --resume goes on once the cause is gone"


@dataclass(eq=False)
class _Task:
    """One call to make: a shard, or (with `row`) the probe of one of its images."""

    shard: int
    row: int | None = None
    alone: bool = False
    crashes: int = 0
    skip: set[int] = field(default_factory=set)
    singly: bool = False


@dataclass(eq=False)
class _Lane:
    """A worker and what it has in hand."""

    actor: ActorHandle[Any]
    ready: bool = False
    deaths: int = 0
    tasks: dict[ObjectRef[Any], _Task] = field(default_factory=dict)
    watch: ObjectRef[Any] | None = None
    progress: dict[int, int] = field(default_factory=dict)

    def accepts(self, task: _Task, depth: int) -> bool:
        """Whether the worker may get this task now; a task that runs alone wants it to itself."""
        if not self.ready or any(t.alone for t in self.tasks.values()):
            return False
        return not self.tasks if task.alone else len(self.tasks) < depth


class Dispatcher:
    """Feeds shards to workers until each one is committed.

    Args:
        start: starts a worker.
        workers: how many.
        refs: for each shard where its rows lie.
        rows: for each shard its record indices, in processing order.
        epoch: the driver's number, so that file names of different drivers differ.
        commit: called with the receipts of shards that are done, one or several at a time.
        progress: called with the number of images done in shards that are not committed yet, at
            least every second.
        warn: called with remarks about workers.
    """

    def __init__(
        self,
        start: Callable[[], ActorHandle[Any]],
        workers: int,
        refs: dict[int, ShardRef],
        rows: dict[int, NDArray[np.int64]],
        *,
        epoch: int,
        commit: Callable[..., object],
        progress: Callable[[int], None],
        warn: Callable[[str], None],
    ) -> None:
        self._start = start
        self._lanes = [_Lane(start()) for _ in range(workers)]
        self._refs = refs
        self._rows = rows
        self._epoch = epoch
        self._commit = commit
        self._progress = progress
        self._warn = warn
        self._crashes = 0
        self._pending: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._probing: dict[int, tuple[_Task, int]] = {}  # shard -> its task, probes to come
        self._attempts = 0
        self._open = 0

    def run(self, shards: Iterable[int]) -> None:
        """Work through the shards, then end the workers.

        Raises:
            OdtkError: no worker is left, or a worker raised: committed shards stay committed.
        """
        import ray

        self._pending.extend(_Task(shard) for shard in shards)
        self._open = len(self._pending)
        try:
            for lane in self._lanes:
                self._greet(lane)
            self._work()
        finally:
            for lane in self._lanes:
                ray.kill(lane.actor)  # its cores or GPU are free for what follows

    def _work(self) -> None:
        started = watched = time.monotonic()
        patient = True
        while self._open:
            self._fill()
            self._collect()
            now = time.monotonic()
            if now - watched > _WATCH_INTERVAL:
                watched = now
                self._ask_progress()
                self._tell()
            if patient and now - started > _PATIENCE:
                patient = False
                if late := sum(not lane.ready for lane in self._lanes):
                    self._warn(
                        f"{late} of {len(self._lanes)} workers are not ready after {_PATIENCE:.0f} "
                        "s: they wait for free GPUs or cores, or load slowly"
                    )

    def _collect(self) -> None:
        """Wait for calls to end, a moment at most; receipts that are there are one commit."""
        import ray

        waiting = {ref: lane for lane in self._lanes for ref in lane.tasks}
        waiting |= {lane.watch: lane for lane in self._lanes if lane.watch is not None}
        refs = list(waiting)
        done, _ = ray.wait(refs, num_returns=1, timeout=_WATCH_INTERVAL)
        if done and len(refs) > 1:
            done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        receipts: list[Receipt] = []
        try:
            for ref in done:
                receipt = self._settle(waiting[ref], ref)
                if receipt is not None:
                    receipts.append(receipt)
        finally:  # what is done counts, also when another worker ends the run
            if receipts:
                self._commit(*receipts)
                self._tell()

    def _fill(self) -> None:
        """Hand out suspects first, then shards; one deep when there are few left."""
        depth = DEPTH if len(self._pending) > len(self._lanes) else 1
        for level in range(depth):  # breadth first: no worker gets a second before all have one
            for lane in self._lanes:
                queue = self._suspects or self._pending
                if queue and len(lane.tasks) <= level and lane.accepts(queue[0], depth):
                    self._submit(lane, queue.popleft())

    def _submit(self, lane: _Lane, task: _Task) -> None:
        where = self._refs[task.shard]
        if task.row is not None:
            ref = lane.actor.probe.remote(where.block, where.offset + task.row)
        else:
            self._attempts += 1
            ref = lane.actor.run.remote(
                where.block,
                where.offset,
                where.length,
                shard=task.shard,
                attempt=f"{self._epoch}.{self._attempts}",
                skip=task.skip,
                singly=task.singly,
            )
        lane.tasks[ref] = task

    def _settle(self, lane: _Lane, ref: ObjectRef[Any]) -> Receipt | None:
        """Take in what became of one call; returns the receipt of a shard."""
        import ray
        from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

        if ref is not lane.watch and ref not in lane.tasks:
            return None  # its worker's crash was seen through another call
        try:
            value = ray.get(ref)
        except (RayActorError, OutOfMemoryError) as error:
            self._crashed(lane, error)
            return None
        except RayTaskError as error:
            raise _worker_error(error) from error
        except RayError as error:
            raise OdtkError("a worker cannot go on", _reason(error), _RESUME) from error
        if ref is lane.watch:
            lane.watch, lane.ready, lane.deaths, lane.progress = None, True, 0, value
            self._tell()
            return None
        self._crashes = 0
        task = lane.tasks.pop(ref)
        if task.row is not None:
            self._probed(task, crashed=False)
            return None
        lane.progress.pop(task.shard, None)
        self._open -= 1
        receipt: Receipt = value
        return receipt

    def _crashed(self, lane: _Lane, error: Exception) -> None:
        """The worker's process is gone: start another, unless that is of no use."""
        import ray
        from ray.exceptions import RayTaskError

        self._crashes += 1
        if self._crashes == _CRASHES_IN_A_ROW:
            raise OdtkError("the workers crash on everything", _reason(error), _RESUME)
        tasks, lane.tasks = list(lane.tasks.values()), {}
        lane.ready, lane.watch, lane.progress = False, None, {}
        lane.deaths += 1
        for task in tasks:
            if task.alone:
                task.crashes += 1
            task.alone = True
            if task.crashes < _CRASHES_ALONE:
                self._suspects.append(task)
            elif task.row is not None:
                self._probed(task, crashed=True)
            else:
                self._isolate(task)
        cause = error.args[0] if error.args else None
        if isinstance(cause, RayTaskError):  # its constructor raised, and would do so again
            raise _worker_error(cause)
        if lane.deaths == _DEATHS_IN_A_ROW:
            self._lanes.remove(lane)
            if not self._lanes:
                raise OdtkError(
                    "no worker is left",
                    f"each died {_DEATHS_IN_A_ROW} times in a row: {_reason(error)}",
                    _RESUME,
                )
            self._warn(f"a worker was given up, {len(self._lanes)} are left: {_reason(error)}")
            return
        ray.kill(lane.actor)  # one that was only out of reach must not hold its GPU
        lane.actor = self._start()
        self._greet(lane)

    def _isolate(self, task: _Task) -> None:
        """Find the images that crash a worker: probe each alone, then run the others singly."""
        if task.singly:
            raise OdtkError(
                f"shard {task.shard} crashes its worker",
                "although each of its images, run alone, does not",
                _RESUME,
            )
        task.singly = True
        length = self._refs[task.shard].length
        self._probing[task.shard] = (task, length)
        self._suspects.extend(_Task(task.shard, row, alone=True) for row in range(length))

    def _probed(self, probe: _Task, *, crashed: bool) -> None:
        task, left = self._probing[probe.shard]
        if crashed and probe.row is not None:
            task.skip.add(int(self._rows[probe.shard][probe.row]))
        self._probing[probe.shard] = (task, left - 1)
        if left == 1:
            del self._probing[probe.shard]
            task.crashes = 0
            self._suspects.append(task)

    def _greet(self, lane: _Lane) -> None:
        """Ask a starting worker for its progress: the answer comes when it is ready."""
        lane.watch = lane.actor.progress.options(concurrency_group=WATCH).remote()

    def _ask_progress(self) -> None:
        for lane in self._lanes:
            if lane.ready and lane.watch is None and lane.tasks:
                self._greet(lane)

    def _tell(self) -> None:
        in_hand: dict[int, int] = {}
        for lane in self._lanes:
            current = {task.shard for task in lane.tasks.values()}
            in_hand |= {s: n for s, n in lane.progress.items() if s in current}
        self._progress(sum(in_hand.values()))


def _reason(error: Exception) -> str:
    """Why an actor is gone, in one line: the last of Ray's, which names the exit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _worker_error(error: Exception) -> OdtkError:
    """What a worker raised, as its user should read it."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, OdtkError):
        return OdtkError(f"on a worker: {cause.what}", cause.why, cause.hint)
    if isinstance(cause, OSError):
        where = f" ({cause.filename})" if cause.filename else ""
        return OdtkError("a worker failed", f"{cause.strerror or cause}{where}", _RESUME)
    text = str(cause).strip().split("\n", 1)[0]
    return OdtkError("a worker failed", f"{type(cause).__name__}: {text}", _RESUME)
