"""The driver's queue: keeps every worker busy, and gets through crashes without losing a shard.

Workers that die or hang are replaced, and what they had in hand goes to `suspects`. Work goes to
who is free; near the end a worker takes a shard only if it will end it before the others have done
everything, and shards that wait behind others are recalled for workers that have nothing to do.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.cluster.failures import incompatible_gpu, reason, worker_error
from odtk_ray.cluster.observer import Observer
from odtk_ray.cluster.publish import ShardRef
from odtk_ray.cluster.worker import DEPTH, WATCH, Work
from odtk_ray.dispatch.suspects import RESUME, Suspects
from odtk_ray.dispatch.worker_state import Endgame, Lane, Task, to_recall
from odtk_ray.engines.set_loader import IncompatibleGpu
from odtk_ray.errors import OdtkError
from odtk_ray.shards.shard_file import Receipt

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.actor import ActorHandle

# Images done are asked for this often, in seconds: often enough for a live bar. Large fleets are
# asked more slowly, so that the answers leave the driver time for its work.
_WATCH_INTERVAL = 0.5
_WATCHED_AT_ONCE = 64
# Seconds between two looks at the cluster for more workers.
_GROW_INTERVAL = 5.0
# A worker that dies this often before it is ready is given up.
_DEATHS_IN_A_ROW = 3
# So many crashes with nothing finished in between are no fault of the images.
_CRASHES_IN_A_ROW = 20
# Seconds after which a worker that still waits for its GPU or cores is worth a word.
_PATIENCE = 60.0
# A worker hangs when no image was done for this many seconds, and for so many median shards.
_HANG_SECONDS, _HANG_SHARDS = 120.0, 10
# A round of the driver that takes so many seconds is no measure of the workers.
_AWAY = 5.0
# The end begins when so many shards a worker are left.
_TAIL = 16


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
        observer: told what the workers do.
        shard_timeout: seconds without an image done after which a worker hangs; None is ten times
            the median shard, 120 at least.
        room: says for how many workers there is room now; None keeps the number.
        leave_out: told about a GPU that cannot do its part; returns the room that is left.
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
        observer: Observer,
        shard_timeout: float | None = None,
        room: Callable[[], int] | None = None,
        leave_out: Callable[[IncompatibleGpu], int] = lambda _: 0,
    ) -> None:
        self._start = start
        self._lanes = [Lane(number, start()) for number in range(workers)]
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
        self._workers = workers  # started so far, replacements not counted
        self._crashes = 0
        self._pending: deque[Task] = deque()
        self._suspects = Suspects(rows)
        self._seconds: deque[float] = deque(maxlen=256)  # of the last shards
        self._attempts = 0
        self._open = 0

    def run(self, shards: Iterable[int]) -> None:
        """Work through the shards, then end the workers.

        Raises:
            OdtkError: no worker is left, or a worker raised: committed shards stay committed.
        """
        import ray

        self._pending.extend(Task(shard, self._refs[shard].length) for shard in shards)
        self._open = len(self._pending)
        try:
            for lane in self._lanes:
                self._greet(lane)
            self._work()
        finally:
            for lane in self._lanes:
                ray.kill(lane.actor)  # its cores or GPU are free for what follows
            self._observer.close()

    def _work(self) -> None:
        started = watched = grown = now = time.monotonic()
        patient = True
        while self._open:
            before = now
            self._fill()
            self._collect()
            now = time.monotonic()
            if now - before > _AWAY:
                self._excuse(now - before)
            if now - watched > _WATCH_INTERVAL * max(1.0, len(self._lanes) / _WATCHED_AT_ONCE):
                watched = now
                self._end_hangs(now)
                self._ask_progress()
                self._tell()
                self._observer.queue(len(self._pending))
            if self._room is not None and now - grown > _GROW_INTERVAL:
                grown = now
                self._grow(self._room())
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
            if done:
                self._tell()

    def _fill(self) -> None:
        """Hand out suspects first, then shards; breadth first, so that all have one before two."""
        few = 0 < len(self._pending) <= _TAIL * len(self._lanes)
        endgame = Endgame(self._lanes) if few else None
        for level in range(DEPTH):
            for lane in self._lanes:
                if len(lane.tasks) > level:
                    continue
                queue = self._suspects.queue or self._pending
                if queue and lane.accepts(queue[0], DEPTH) and self._wants(lane, queue[0], endgame):
                    self._submit(lane, queue.popleft())
        if not self._pending and not self._suspects.queue:
            for lane, task in to_recall(self._lanes):
                task.recalled = True
                lane.actor.recall.options(concurrency_group=WATCH).remote(task.shard)

    def _wants(self, lane: Lane, task: Task, endgame: Endgame | None) -> bool:
        """Whether the worker should take it: always, until few shards are left."""
        if task.alone or endgame is None:
            return True
        left = len(self._pending)
        if lane.tasks and left <= len(self._lanes):
            return False
        wanted = endgame.worthwhile(lane, task.images, left)
        if wanted:
            endgame.hand(lane, task.images)
        return wanted

    def _submit(self, lane: Lane, task: Task) -> None:
        where = self._refs[task.shard]
        if task.row is not None:
            ref = lane.actor.probe.remote(where.block, where.offset + task.row)
        else:
            self._attempts += 1
            attempt = f"{self._epoch}.{self._attempts}"
            skip = frozenset(task.skip)
            work = Work(where.offset, where.length, task.shard, attempt, skip, task.singly)
            ref = lane.actor.run.remote(where.block, work)
        lane.hand(ref, task)

    def _settle(self, lane: Lane, ref: ObjectRef[Any]) -> Receipt | None:
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
            raise worker_error(error) from error
        except RayError as error:
            raise OdtkError("a worker cannot go on", reason(error), RESUME) from error
        if ref is lane.watch:
            lane.watch, lane.ready, lane.deaths, lane.name = None, True, 0, value.worker
            lane.note_progress(value)
            return None
        self._crashes = 0
        task = lane.take_back(ref)
        if task.row is not None:
            self._suspects.probed(task, crashed=False)
            return None
        if value is None:
            task.recalled = False
            self._pending.appendleft(task)
            return None
        receipt: Receipt = value
        self._seconds.append(lane.measure(task))
        self._observer.shard(lane, task, receipt, self._seconds[-1])
        self._open -= 1
        return receipt

    def _crashed(self, lane: Lane, error: Exception) -> None:
        """The worker's process is gone: start another, unless that is of no use."""
        import ray
        from ray.exceptions import RayTaskError

        if (incompatible := incompatible_gpu(error)) is not None:
            self._dismiss(lane, incompatible)
            return
        self._crashes += 1
        if self._crashes == _CRASHES_IN_A_ROW:
            raise OdtkError("the workers crash on everything", reason(error), RESUME)
        lane.deaths += 1
        self._observer.crash(lane, reason(error))
        for task in lane.lose():
            self._suspects.crashed(task)
        cause = error.args[0] if error.args else None
        if isinstance(cause, RayTaskError):  # its constructor raised, and would do so again
            raise worker_error(cause)
        ray.kill(lane.actor)  # one that was only out of reach must not hold its GPU
        if lane.deaths == _DEATHS_IN_A_ROW:
            self._lanes.remove(lane)
            if not self._lanes:
                raise OdtkError(
                    "no worker is left",
                    f"each died {_DEATHS_IN_A_ROW} times in a row: {reason(error)}",
                    RESUME,
                )
            self._warn(f"a worker was given up, {len(self._lanes)} are left: {reason(error)}")
            return
        lane.actor = self._start()
        self._greet(lane)

    def _dismiss(self, lane: Lane, incompatible: IncompatibleGpu) -> None:
        """A worker's GPU cannot do its part: try elsewhere, if there is room."""
        room = self._leave_out(incompatible)
        lane.lose()
        if room >= len(self._lanes):
            lane.actor = self._start()
            self._greet(lane)
            return
        self._lanes.remove(lane)
        self._workers -= 1
        if not self._lanes:
            raise OdtkError(
                "no worker is left", str(incompatible).partition("\n")[0], incompatible.hint
            )

    def _end_hangs(self, now: float) -> None:
        """Replace workers that have had something in hand for too long without ending an image."""
        median = statistics.median(self._seconds) if self._seconds else 0.0
        limit = self._timeout or max(_HANG_SECONDS, _HANG_SHARDS * median)
        for lane in list(self._lanes):
            if lane.ready and lane.tasks and now - lane.stirred > limit:
                self._warn(
                    f"{lane.name} hangs: no image was done for {limit:,.0f} s; it is replaced"
                )
                self._crashed(lane, TimeoutError(f"no image was done for {limit:,.0f} s"))

    def _excuse(self, seconds: float) -> None:
        """Do not hold it against the workers that the driver itself was away, as for a commit."""
        for lane in self._lanes:
            lane.stirred += seconds

    def _grow(self, room: int) -> None:
        """Start workers on what has joined the cluster."""
        for _ in range(min(room - self._workers, len(self._pending))):
            lane = Lane(self._workers, self._start())
            self._workers += 1
            self._lanes.append(lane)
            self._greet(lane)

    def _greet(self, lane: Lane) -> None:
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
