"""GPUs, workers and images that go wrong in every way, by a simulated clock.

Workers write real shard files. Nothing here knows of `Dispatch` but the assignments that it makes.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from odtk_ray.dispatch.worker_state import Assignment, Progress, WorkerState
from odtk_ray.records import Detections, ImageResult
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import Receipt, write_shard
from odtk_ray.worker.shard_worker import CRASHED


class Image(Enum):
    """How an image behaves."""

    FINE = 0
    CRASHES = 1  # its worker, whatever else is in the launch
    HANGS = 2  # likewise
    CROWDED = 3  # crashes its worker together with another such image of the shard
    LARGE = 4  # is done after many minutes and tiles
    CURSED = 5  # crashes its worker unless it is probed


TILES, SECONDS_A_TILE = 15, 10.0  # of a LARGE image
LOADING = 7.0  # seconds until a worker is ready


@dataclass(eq=False)
class Gpu:
    """Where one worker may run.

    Attributes:
        speed: seconds an image takes.
        compatible: whether it can do its part of the run.
        deaths: so many processes still die on it before they are ready.
        node: its node; several GPUs may have the same.
        there: whether its node is part of the cluster.
        process: what runs on it.
    """

    speed: float
    compatible: bool = True
    deaths: int = 0
    node: str = ""
    there: bool = True
    process: Process | None = None


@dataclass(eq=False)
class Call:
    """An assignment as its worker sees it: which images, and how."""

    assignment: Assignment
    images: list[int]
    failed: list[int]
    begun: bool = False
    recalled: bool = False
    position: int = 0
    seconds: float = 0.0  # spent on the image at `position`
    probe: bool = field(init=False)

    def __post_init__(self) -> None:
        self.probe = self.assignment.task.row is not None


@dataclass(eq=False)
class Process:
    """The process of a worker; what it says lies in `outbox` until the driver takes it."""

    worker: WorkerState
    run: RunFolder
    images: list[Image]
    gpu: Gpu
    loading: float = LOADING
    alive: bool = True
    ready: bool = False
    hangs: bool = False
    cut_off: bool = False  # works, but no message gets through
    was_cut_off: bool = False
    waiting: bool = False  # for storage
    asked: bool = False
    verdict: tuple[float, str] | None = None  # what is said of its end, after so many seconds
    tiles: int = 0
    done: Counter[int] = field(default_factory=Counter)
    calls: deque[Call] = field(default_factory=deque)
    outbox: list[tuple[str, Any]] = field(default_factory=list)

    def ask(self) -> None:
        """Have it report as soon as it is ready."""
        if self.ready and not self.hangs:
            done = {shard: images for shard, images in self.done.items() if images}
            name = f"GPU {id(self.gpu)}"
            self.outbox.append(
                ("report", Progress(done, self.tiles, self.waiting, name, self.gpu.node))
            )
        self.asked = not self.ready

    def call(self, assignment: Assignment) -> None:
        """Queue the images of an assignment."""
        task = assignment.task
        rows = self.run.plan.shards[task.shard].rows.tolist()
        if task.row is not None:
            self.calls.append(Call(assignment, [rows[task.row]], []))
            return
        failed = [index for index in rows if index in task.skip]
        images = [index for index in rows if index not in task.skip]
        self.calls.append(Call(assignment, images, failed))

    def recall(self, assignment: Assignment) -> None:
        """Return an assignment when its turn comes, unless that was already."""
        for call in self.calls:
            call.recalled |= call.assignment is assignment and not call.begun

    def die(self) -> None:
        """End it as SIGKILL does."""
        if self.alive:
            self.alive = False
            self.outbox.append(("crash", None))
            self.calls.clear()
            self.gpu.process = None

    def vanish(self, verdict: str, seconds: float) -> None:
        """End it so that it does not answer at first, and the reason is known later."""
        if self.alive:
            self.die()
            self.hangs = False
            self.outbox[-1] = ("unreachable", None)
            self.verdict = seconds, verdict

    def work(self, seconds: float) -> None:
        """Let time pass."""
        if self.verdict is not None:
            left, verdict = self.verdict
            self.verdict = (left - seconds, verdict) if left > seconds else None
            if self.verdict is None:
                self.outbox.append((verdict, None))
        if self.alive and not self.ready:
            seconds = self._load(seconds)
        while seconds > 0 and self.alive and self.ready and not self.hangs and not self.waiting:
            self._begin()
            if not self.calls:
                return
            seconds = self._detect(self.calls[0], seconds)

    def _load(self, seconds: float) -> float:
        self.loading -= seconds
        if self.loading > 0:
            return 0.0
        if self.gpu.deaths:
            self.gpu.deaths -= 1
            self.die()
        elif not self.gpu.compatible:
            self.die()
            self.outbox[-1] = ("incompatible", self.gpu)
        else:
            self.ready = True
            if self.asked:
                self.ask()
        return -self.loading

    def _begin(self) -> None:
        """Begin the first call, and the second once all images of the first have been read."""
        for call in list(self.calls):
            if call.recalled and not call.begun:
                self.calls.remove(call)
                self.outbox.append(("ended", (call.assignment, None)))
                continue
            call.begun = True
            if len(call.images) - call.position > 1 or call.assignment.task.singly:
                return

    def _detect(self, call: Call, seconds: float) -> float:
        """Go on with a call; returns the seconds that are left."""
        if call.position == len(call.images):
            self._end(call)
            return seconds
        kind = self.images[call.images[call.position]]
        if self._breaks(kind, call):
            return 0.0
        needed = TILES * SECONDS_A_TILE if kind is Image.LARGE else self.gpu.speed
        step = min(seconds, needed - call.seconds)
        if kind is Image.LARGE:
            tiles = int((call.seconds + step) // SECONDS_A_TILE)
            self.tiles += tiles - int(call.seconds // SECONDS_A_TILE)
        call.seconds += step
        if call.seconds >= needed:
            call.position, call.seconds = call.position + 1, 0.0
            if not call.probe:
                self.done[call.assignment.task.shard] += 1
        return seconds - step

    def _breaks(self, kind: Image, call: Call) -> bool:
        """Crash or hang on an image if that is its kind."""
        together = not call.probe and not call.assignment.task.singly
        crowd = sum(self.images[index] is Image.CROWDED for index in call.images)
        if (
            kind is Image.CRASHES
            or (kind is Image.CROWDED and together and crowd > 1)
            or (kind is Image.CURSED and not call.probe)
        ):
            self.die()
            return True
        self.hangs = kind is Image.HANGS
        return self.hangs

    def _end(self, call: Call) -> None:
        self.calls.remove(call)
        self.done.pop(call.assignment.task.shard, None)
        value = None if call.probe else self._write(call)
        self.outbox.append(("ended", (call.assignment, value)))

    def _write(self, call: Call) -> Receipt:
        """Write the shard's file as a worker does."""
        nothing = Detections(
            np.empty(0, np.float32), np.empty((0, 4), np.float32), np.empty(0, np.int32)
        )
        pairs = [(index, ImageResult(None, 64, 48, nothing)) for index in call.images]
        pairs += [(index, ImageResult.failed(CRASHED)) for index in call.failed]
        shard = call.assignment.task.shard
        attempt = f"{self.run.epoch}.{call.assignment.attempt}"
        name, sha256 = write_shard(
            self.run.path, shard, attempt, pairs, engine="simulated", digest=self.run.digest
        )
        failed = len(call.failed)
        return Receipt(shard, name, sha256, len(pairs), failed, 0, "simulated")


class Cluster:
    """Starts processes on GPUs that are free, and lets time pass for all of them."""

    def __init__(self, images: list[Image], gpus: list[Gpu]) -> None:
        self.now = 1000.0
        self.images = images
        self.gpus = gpus
        self.processes: list[Process] = []
        self.draining: set[str] = set()  # nodes
        self.unlucky: set[int] = set()  # images that lost two workers alone without their fault
        self._waiting: deque[tuple[WorkerState, RunFolder, frozenset[Gpu]]] = deque()
        self._started: dict[WorkerState, Process] = {}

    def start(self, worker: WorkerState, run: RunFolder, left_out: set[Gpu]) -> None:
        """Start a process for a worker as soon as there is a GPU for it."""
        self._waiting.append((worker, run, frozenset(left_out)))

    def kill(self, worker: WorkerState) -> None:
        """End a worker's process as `ray.kill` does: one that is cut off goes on working."""
        process = self._started.pop(worker)
        if not process.cut_off:
            process.die()

    def process_of(self, worker: WorkerState) -> Process | None:
        """Return the newest process of a worker; None while it waits for a GPU."""
        return self._started.get(worker)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for _ in range(len(self._waiting)):
            worker, run, left_out = self._waiting.popleft()
            free = (g for g in self.available() if g.process is None and g not in left_out)
            gpu = next(free, None)
            if gpu is None:
                self._waiting.append((worker, run, left_out))
                continue
            gpu.process = Process(worker, run, self.images, gpu, asked=True)
            self._started[worker] = gpu.process
            self.processes.append(gpu.process)
        for process in self.processes:
            process.work(seconds)

    def available(self) -> list[Gpu]:
        """Return the GPUs that processes may be started on."""
        return [gpu for gpu in self.gpus if gpu.there and gpu.node not in self.draining]

    def lose(self, node: str, seconds: float) -> None:
        """Lose all GPUs of a node for good; it takes so many seconds until that is known."""
        for gpu in (gpu for gpu in self.gpus if gpu.there and gpu.node == node):
            gpu.there = False
            if gpu.process is not None:
                gpu.process.vanish("lost", seconds)

    def end_all(self) -> None:
        """End all processes, as when their driver is gone; some end a shard before."""
        self._waiting.clear()
        self._started.clear()
        for process in self.processes:
            if process.alive and not process.hangs and process.calls:
                call = process.calls[0]
                if not call.probe and call.position == len(call.images):
                    process._end(call)
            process.die()
        self.processes.clear()
