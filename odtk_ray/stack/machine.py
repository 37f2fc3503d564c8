"""This machine: Python, odtk-ray itself, memory and disks; nothing is imported for it."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from odtk_ray import __version__
from odtk_ray.stack.finding import Finding, ok, problem, warning
from odtk_ray.stack.libraries import installed_version

_GIB = 1 << 30
# The driver and one worker take 2.5 GiB with torch, pictures come on top.
_LEAST_MEMORY = 4 * _GIB
_LEAST_DISK = 2 * _GIB
_LEAST_SHM = 512 << 20  # of the object store that a run starts for itself

# Files below /sys/fs/cgroup, of both of its versions: the limit of a container, and what is used.
_LIMITS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def check_python() -> Iterator[Finding]:
    """Check the system; an interpreter that is too old would not come this far."""
    text = f"{platform.python_version()}, {sys.executable}"
    if sys.platform != "linux":
        yield problem("Python", f"{text}: on {sys.platform}, and only Linux works", "use Linux")
    else:
        yield ok("Python", text)


def check_package() -> Iterator[Finding]:
    """Check that odtk-ray is what is installed."""
    text = f"{__version__}, {Path(__file__).parents[1]}"
    installed = installed_version(("odtk-ray",))
    if installed and installed != __version__:
        yield warning(
            "odtk-ray",
            f"{text}: {installed} is installed",
            "pip install again, or take the checkout off PYTHONPATH",
        )
    else:
        yield ok("odtk-ray", text)


def check_memory() -> Iterator[Finding]:
    """Check that there is memory for a driver and a worker."""
    free, total = free_memory()
    text = f"{_size(free)} of {_size(total)} are free"
    if free < _LEAST_MEMORY:
        yield warning("memory", text, "a run with one worker may need 4 GiB: end other programs")
    else:
        yield ok("memory", text)


def check_disks() -> Iterator[Finding]:
    """Check the room for outputs, for temporary files and for Ray's objects."""
    places = {
        "disk": (".", _LEAST_DISK, "make room, or work in another folder"),
        "temporary files": (
            os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(),
            _LEAST_DISK,
            "make room, or set TMPDIR and RAY_TMPDIR",
        ),
        "/dev/shm": (  # noqa: S108 - the system's
            "/dev/shm",  # noqa: S108
            _LEAST_SHM,
            "Ray is slow with less: docker run --shm-size=1g",
        ),
    }
    for name, (folder, least, remedy) in places.items():
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            yield warning(name, f"{folder}: {error.strerror}", remedy)
            continue
        where = "" if folder == name else f" in {os.path.abspath(folder)}"
        text = f"{_size(free)} are free{where}"
        yield ok(name, text) if free >= least else warning(name, text, remedy)


def free_memory() -> tuple[int, int]:
    """Return the free bytes of memory, and those in all, within the limit of a container."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    values = {line.partition(":")[0]: int(line.split()[1]) << 10 for line in lines}
    free, total = values["MemAvailable"], values["MemTotal"]
    group = Path("/sys/fs/cgroup")
    for limit, used in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            most = int((group / limit).read_text(encoding="ascii"))
            taken = int((group / used).read_text(encoding="ascii"))
            if most < total:
                free, total = min(free, most - taken), most
    return free, total


def _size(count: int) -> str:
    return f"{count / _GIB:,.1f} GiB"
