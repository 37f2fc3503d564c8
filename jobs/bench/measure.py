"""Shared parts of the benchmarks: the machine, CPU time of a process tree, medians, tables.

On its own it prints the machine.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PACKAGES = ("ray", "torch", "tensorrt", "pillow", "numpy", "pyarrow")
_TICK = os.sysconf("SC_CLK_TCK")
# A worker is killed at the end of a run: what it used in its last interval is not seen.
_INTERVAL = 0.25


def machine() -> str:
    """Describe cores, memory and versions in one line."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    there = {found.name.lower() for found in importlib.metadata.distributions()}
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES if name in there
    )
    cpu = names[0] if names else platform.machine()
    return f"{cores} cores {cpu}, {memory:.0f} GiB; Python {platform.python_version()}, {versions}"


def load() -> float:
    """Load average of the last minute: far above what the benchmark uses, times mean little."""
    return os.getloadavg()[0]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows, the first one a heading, as a Markdown table that also reads well as text."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


@dataclass(frozen=True)
class Usage:
    """The cost of a stage: seconds, CPU seconds, peak resident bytes, and the lines it printed."""

    wall: float
    cpu: float
    peak: int
    said: list[str]

    def cells(self) -> tuple[str, ...]:
        """Return cells for a table, the load average last."""
        memory = f"{self.peak / 2**20:,.0f} MiB"
        return f"{self.wall:.1f} s", f"{self.cpu:.1f} s", memory, f"{load():.1f}"


def stage(script: str, *options: object) -> Usage:
    """Run one stage of a benchmark in a process of its own, which calls `end_stage` last.

    What the caller holds counts there: a process that is started begins as a copy of it.

    Raises:
        ChildProcessError: it failed.
    """
    started = time.perf_counter()
    command = [sys.executable, script, *map(str, options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ChildProcessError(f"{' '.join(command)} failed")
    *said, last = done.stdout.splitlines()
    cpu, peak = last.split()
    return Usage(time.perf_counter() - started, float(cpu), int(peak) << 10, said)


def end_stage() -> None:
    """Say what this process took, before it ends: unloading torch touches another 120 MiB."""
    print(cpu_seconds(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def cpu_seconds() -> float:
    """Return user and system seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def repeating(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread again and again, in intervals, while the block runs."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class TreeCpu:
    """CPU seconds, user and system, of this process and all its descendants, dead ones too.

    Ray's workers are no children that could be waited for, so the tree is looked at in intervals.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], float] = {}  # (pid, start time) -> seconds

    @property
    def seconds(self) -> float:
        """CPU seconds up to now."""
        self._look()
        return sum(self._seen.values())

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the tree while the block runs."""
        with repeating(_INTERVAL, self._look):
            yield

    def _look(self) -> None:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError):  # it ended meanwhile
                # Behind the name, which may hold anything: state, parent, ..; see proc(5).
                text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
                fields = text.rpartition(")")[2].split()
                self._seen[pid, fields[19]] = (int(fields[11]) + int(fields[12])) / _TICK


def descendants(pid: int) -> Iterator[int]:
    """Return a process and everything that it and its children started."""
    yield pid
    with contextlib.suppress(OSError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():  # a thread's children are its own
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from descendants(int(child))


@dataclass
class Timing:
    """The times of the runs of one kind."""

    stages: list[list[float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, run: Callable[[int], list[float]], count: int, cpu: TreeCpu) -> None:
        """Do one run."""
        before = cpu.seconds
        self.stages.append(run(count))
        self.cpu.append(cpu.seconds - before)

    @property
    def wall(self) -> float:
        """Median seconds of a run."""
        return statistics.median(map(sum, self.stages))

    def row(self, name: str, count: int) -> tuple[str, ...]:
        """Format a line of the table, times in ms per image; stages are medians of their own."""
        columns = zip(*self.stages, strict=True)
        parts = " + ".join(f"{statistics.median(column):.2f}" for column in columns)
        wall, cpu = self.wall * 1e3 / count, statistics.median(self.cpu) * 1e3 / count
        walls = [sum(stages) for stages in self.stages]
        spread = f"{min(walls):.2f} to {max(walls):.2f} s"
        return (name, f"{count}", f"{wall:.2f} ms", f"{cpu:.2f} ms", spread, f"{parts} s")


if __name__ == "__main__":
    print(f"{machine()}; load {load():.1f}")
