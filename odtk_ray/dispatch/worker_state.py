"""What the driver knows of its workers: what each has in hand, and how fast it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

# Weight of the newest shard in a worker's pace.
_NEWEST = 0.5


class Progress(NamedTuple):
    """What a worker says of itself.

    Attributes:
        done: for each shard in hand the number of images done.
        tiles: done since it started, since an image of hundreds may take many minutes.
        waiting: whether it waits for storage to come back.
        worker: its name.
    """

    done: dict[int, int]
    tiles: int
    waiting: bool
    worker: str


@dataclass(eq=False)
class Task:
    """One call to make: a shard, or (with `row`) the probe of one of its images."""

    shard: int
    images: int
    row: int | None = None
    alone: bool = False
    crashes: int = 0
    skip: set[int] = field(default_factory=set)
    singly: bool = False
    recalled: bool = False
    since: float = 0.0  # when it was handed out, by time.monotonic


@dataclass(eq=False)
class Lane:
    """A worker and what it has in hand."""

    number: int
    actor: Any
    name: str = ""  # says GPU and node, once the worker is ready
    ready: bool = False
    deaths: int = 0
    tasks: dict[Any, Task] = field(default_factory=dict)
    watch: Any | None = None
    progress: dict[int, int] = field(default_factory=dict)
    tiles: int = 0  # done, as the worker last said
    pace: float | None = None  # seconds an image
    stirred: float = field(default_factory=time.monotonic)  # last sign of work
    finished: float = 0.0  # when the last shard ended

    def accepts(self, task: Task, depth: int) -> bool:
        """Whether the worker may get this task now; a task that runs alone wants it to itself."""
        if not self.ready or any(t.alone for t in self.tasks.values()):
            return False
        return not self.tasks if task.alone else len(self.tasks) < depth

    @property
    def load(self) -> int:
        """Images in hand that are still to be done."""
        return sum(t.images - self.progress.get(t.shard, 0) for t in self.tasks.values())

    def hand(self, ref: Any, task: Task) -> None:
        """Note a call that was made."""
        task.since = time.monotonic()
        if not self.tasks:
            self.stirred = task.since
        self.tasks[ref] = task

    def take_back(self, ref: Any) -> Task:
        """Note that a call has ended."""
        task = self.tasks.pop(ref)
        self.progress.pop(task.shard, None)
        self.stirred = time.monotonic()
        return task

    def measure(self, task: Task) -> float:
        """Learn from a shard that is done; returns the seconds that it took alone."""
        now = time.monotonic()
        # One that was handed out while another ran began when that one ended.
        seconds = now - max(task.since, self.finished)
        self.finished = now
        pace = seconds / task.images
        self.pace = pace if self.pace is None else _NEWEST * pace + (1 - _NEWEST) * self.pace
        return seconds

    def note_progress(self, said: Progress) -> None:
        """Take in what the worker says of itself; one that waits for storage does not hang."""
        if (said.done, said.tiles) != (self.progress, self.tiles) or said.waiting:
            self.stirred = time.monotonic()
        self.progress, self.tiles = said.done, said.tiles

    def lose(self) -> list[Task]:
        """The process is gone: forget all of it, and return what it had in hand."""
        tasks, self.tasks = list(self.tasks.values()), {}
        self.ready, self.watch, self.progress = False, None, {}
        return tasks


class Endgame:
    """Who takes a shard near the end of a run: whoever ends it before the others have ended all.

    Reads what the workers have in hand once and follows it while shards are handed out, since a
    thousand workers may ask in one round.

    Args:
        lanes: all workers.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        known = [lane for lane in lanes if lane.ready and lane.pace]
        self._rows = {lane: row for row, lane in enumerate(known)}
        self._paces = np.array([lane.pace for lane in known], np.float64)
        self._loads = np.array([lane.load for lane in known], np.float64)

    def hand(self, lane: Lane, images: int) -> None:
        """Note that a worker gets so many images."""
        if lane in self._rows:
            self._loads[self._rows[lane]] += images

    def worthwhile(self, lane: Lane, images: int, shards: int) -> bool:
        """Whether a worker should take one more shard.

        Not if the others end all that is left before it would end this one.

        Args:
            lane: the worker.
            images: in the shard.
            shards: number of shards that are left, this one included.
        """
        if not lane.pace:
            return True
        end = (lane.load + images) * lane.pace
        # Shards that each ends strictly earlier, so that of equal workers one takes it.
        earlier = np.ceil((end / self._paces - self._loads) / images) - 1
        if lane in self._rows:
            earlier[self._rows[lane]] = 0
        return bool(earlier.clip(min=0).sum() < shards)


def to_recall(lanes: Sequence[Lane]) -> list[tuple[Lane, Task]]:
    """Shards that wait behind others, for workers that have nothing to do and are not slower."""
    idle = sorted(lane.pace or 0.0 for lane in lanes if lane.ready and not lane.tasks)
    waiting = []
    for lane in lanes:
        last = list(lane.tasks.values())[-1:]
        if len(lane.tasks) > 1 and not last[0].recalled and not last[0].alone:
            waiting.append((lane.load * (lane.pace or 0.0), lane, last[0]))
    waiting.sort(key=lambda item: -item[0])
    pairs = zip(idle, waiting, strict=False)
    return [(lane, task) for pace, (_, lane, task) in pairs if pace <= (lane.pace or pace)]
