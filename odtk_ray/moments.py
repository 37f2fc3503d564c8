"""When a process got how far in a run: `--trace` shows it, and benchmarks compare it.

Noting a moment takes a microsecond, so it is always on. What counts is the first time: each is
noted once a run. Times are those of the machine's clock, so that processes can be compared.
"""

from __future__ import annotations

import os
import time
from enum import Enum
from pathlib import Path


class Moment(str, Enum):
    """The moments of a run; the driver's, then those of each worker's process."""

    BEGUN = "the run begins"
    MODEL_READ = "the driver has read the model"
    RAY_UP = "Ray is up"
    PLANNED = "the plan is published"
    COMMITTED = "the first shard is committed"

    PROCESS = "the worker's process is started"
    CALLED = "the worker's code is loaded"
    IMPORTED = "the worker has imported torch"
    READY = "the engine is ready"
    DETECTED = "the first launch's detections are on the host"


_noted: dict[Moment, float] = {}


def begin_moments() -> None:
    """Forget the moments of an earlier run in this process, and note that one begins."""
    _noted.clear()
    note_moment(Moment.BEGUN)


def note_moment(moment: Moment, when: float | None = None) -> None:
    """Note a moment, unless this run has had it.

    Args:
        moment: the moment.
        when: seconds since 1970; None is now.
    """
    _noted.setdefault(moment, time.time() if when is None else when)


def noted_moments() -> dict[Moment, float]:
    """Return the moments that this process has noted, in seconds since 1970."""
    return dict(_noted)


def process_start() -> float:
    """Return when this process was started, in seconds since 1970; Linux knows it to 10 ms."""
    # Behind the name, which may hold anything; the 22nd field of proc(5) counts from the boot.
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - age
