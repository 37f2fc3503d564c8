"""The driver's view of a worker: its assignments, its progress, its speed.

Times are seconds of any clock that never runs backwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from odtk_ray.dispatch.tasks import Task

# The most tasks that a worker holds: the second one keeps decode threads and engine busy when the
# first has nothing left to decode.
DEPTH = 2
# A worker that dies this many times before it is ready is given up.
DEATHS_IN_A_ROW = 3
# Weight of the newest shard in a worker's pace.
_NEWEST = 0.5


class Progress(NamedTuple):
    """The progress that a worker reports.

    Attributes:
        done: images done of each shard that it holds.
        tiles: tiles done since it started; an image of hundreds of tiles may take many minutes.
        waiting: whether it waits for storage to come back.
        worker: its name.
        node: the node that it runs on.
    """

    done: dict[int, int]
    tiles: int
    waiting: bool
    worker: str
    node: str = ""


@dataclass(eq=False)
class Assignment:
    """A task given to a worker; a task that is handed out again gets a new assignment.

    Attributes:
        worker: the worker that has it.
        task: the task to do.
        attempt: number of this assignment, from 1, never used twice by one driver.
        since: time of the assignment.
        recalled: whether the worker was asked to hand back the shard if it has not begun.
        interrupted: whether the driver paused meanwhile, so that it saw the end too late.
    """

    worker: WorkerState
    task: Task
    attempt: int
    since: float
    recalled: bool = False
    interrupted: bool = False


@dataclass(eq=False)
class WorkerState:
    """A worker, or the process that takes its place after a crash.

    Attributes:
        number: unique among the workers of the run.
        last_progress: time of its last sign of progress; hang detection counts from here.
        name: GPU and node, known once it is ready.
        node: the node that it runs on, known once it is ready.
        ready: whether its process has loaded the model.
        reachable: whether its process can be talked to; it may be gone where it cannot.
        draining: whether its node is about to end.
        deaths: number of processes in a row that died before they were ready.
        assignments: the tasks that it holds, in the order in which it got them.
        done: images done of each shard that it holds, as last reported.
        tiles: tiles done since its process started, as last reported.
        pace: seconds per image; None before its first shard.
        waiting_since: when it began to wait for storage; None while it does not.
        last_end: time at which it last finished a shard.
    """

    number: int
    last_progress: float
    name: str = ""
    node: str = ""
    ready: bool = False
    reachable: bool = True
    draining: bool = False
    deaths: int = 0
    assignments: list[Assignment] = field(default_factory=list)
    done: dict[int, int] = field(default_factory=dict)
    tiles: int = 0
    pace: float | None = None
    waiting_since: float | None = None
    last_end: float = 0.0

    @property
    def serves(self) -> bool:
        """Whether it can be given work, now or when it has done some of what it holds."""
        return self.ready and self.reachable and not self.draining

    def accepts(self, task: Task) -> bool:
        """Return whether it may get this task now; a task that runs alone needs an idle worker."""
        if not self.serves or any(a.task.alone for a in self.assignments):
            return False
        return not self.assignments if task.alone else len(self.assignments) < DEPTH

    @property
    def load(self) -> int:
        """Images assigned to it and not yet done."""
        return sum(a.task.images - self.done.get(a.task.shard, 0) for a in self.assignments)

    def assign(self, task: Task, attempt: int, now: float) -> Assignment:
        """Assign a task to it."""
        if not self.assignments:
            self.last_progress = now
        assignment = Assignment(self, task, attempt, now)
        self.assignments.append(assignment)
        return assignment

    def take_back(self, assignment: Assignment, now: float) -> bool:
        """Remove an assignment that has ended; return False if it is not held any more."""
        if assignment not in self.assignments:
            return False
        self.assignments.remove(assignment)
        self.done.pop(assignment.task.shard, None)
        self.last_progress = now
        return True

    def measure(self, assignment: Assignment, now: float) -> float:
        """Update the pace after a shard; return the seconds that the shard itself took."""
        # A shard that was handed out while another one ran began when that one ended.
        seconds = now - max(assignment.since, self.last_end)
        self.last_end = now
        pace = seconds / assignment.task.images
        self.pace = pace if self.pace is None else _NEWEST * pace + (1 - _NEWEST) * self.pace
        return seconds

    def note_progress(self, said: Progress, now: float) -> None:
        """Process a progress report; a worker that waits for storage counts as working."""
        if (said.done, said.tiles) != (self.done, self.tiles) or said.waiting:
            self.last_progress = now
        self.ready, self.deaths, self.name, self.node = True, 0, said.worker, said.node
        self.done, self.tiles = said.done, said.tiles
        if not said.waiting:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = now

    def lose(self) -> list[Task]:
        """Reset the state of a process that is gone; return the tasks that it held."""
        tasks = [assignment.task for assignment in self.assignments]
        self.ready, self.assignments, self.done, self.tiles = False, [], {}, 0
        self.reachable, self.draining, self.waiting_since = True, False, None
        return tasks
