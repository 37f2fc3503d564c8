"""What the benchmarks share: the machine in words, CPU time of a process tree, medians, tables.

On its own it prints the machine.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PACKAGES = ("ray", "torch", "tensorrt", "pillow", "numpy", "pyarrow")
_TICK = os.sysconf("SC_CLK_TCK")
# A worker is killed at the end of a run: what it used in its last interval is not seen.
_INTERVAL = 0.25


def machine() -> str:
    """Cores, memory and versions in one line."""
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
    """Rows, the first one a heading, as a Markdown table that also reads well as text."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


class TreeCpu:
    """CPU seconds, user and system, of this process and all its descendants, dead ones too.

    Ray's workers are no children that could be waited for, so the tree is looked at in intervals.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], float] = {}  # (pid, start time) -> seconds

    @property
    def seconds(self) -> float:
        """CPU seconds up to now."""
        self._look(os.getpid())
        return sum(self._seen.values())

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at the tree while the block runs."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(_INTERVAL):
                self._look(os.getpid())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _look(self, pid: int) -> None:
        folder = Path("/proc", str(pid))
        with contextlib.suppress(OSError):  # it ended meanwhile
            # Behind the name, which may hold anything: state, parent, ..; see proc(5).
            fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            self._seen[pid, fields[19]] = (int(fields[11]) + int(fields[12])) / _TICK
            for task in (folder / "task").iterdir():  # a thread's children are its own
                for child in (task / "children").read_text(encoding="ascii").split():
                    self._look(int(child))


@dataclass
class Timing:
    """What the runs of one kind took."""

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
        """A line of the table, times in ms an image; the stages are medians of their own."""
        columns = zip(*self.stages, strict=True)
        parts = " + ".join(f"{statistics.median(column):.2f}" for column in columns)
        wall, cpu = self.wall * 1e3 / count, statistics.median(self.cpu) * 1e3 / count
        walls = [sum(stages) for stages in self.stages]
        spread = f"{min(walls):.2f} to {max(walls):.2f} s"
        return (name, f"{count}", f"{wall:.2f} ms", f"{cpu:.2f} ms", spread, f"{parts} s")


if __name__ == "__main__":
    print(f"{machine()}; load {load():.1f}")
