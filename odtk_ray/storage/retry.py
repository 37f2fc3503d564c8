"""Retries calls while storage is away."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from odtk_ray.errors import OdtkError
from odtk_ray.storage import files
from odtk_ray.storage.os_errors import os_errors

T = TypeVar("T")

# Longest storage outage in seconds; a file server needs some minutes to restart.
OUTAGE = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0

# Pauses in seconds before an unreadable image counts as bad.
_BRIEF_PAUSES = (0.5, 2.0)

# Errors that do not go away by waiting.
_FINAL = frozenset(
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EFBIG EROFS ENAMETOOLONG EINVAL ELOOP ENOTDIR ENOTSUP ENXIO".split()
)
_FINAL_KINDS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)


# Seconds of an outage after which people are told.
OUTAGE_TOLD = 30.0

# Threads of this process that wait for storage: such a worker does not hang.
_waiting: set[int] = set()

# Who is told of an outage in this process, and whether that was done.
_listeners: list[Callable[[str], None]] = []
_told = threading.Event()


@contextlib.contextmanager
def outages_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Have calls of this process, in the block, tell of storage that is away for long."""
    _listeners.append(tell)
    try:
        yield
    finally:
        _listeners.remove(tell)


def _tell_after(seconds: float, error: OSError) -> None:
    """Tell, once for each outage, that calls have failed for so long."""
    if seconds > OUTAGE_TOLD and not _told.is_set():
        _told.set()
        why = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        for tell in _listeners:
            tell(f"storage is away since {seconds:.0f} s, and is waited for: {why}")


# Whether nobody wants what the threads of this process wait for.
_given_up = threading.Event()


def give_up() -> None:
    """Have calls that wait for storage raise what they met, now and until `be_patient`."""
    _given_up.set()


def be_patient() -> None:
    """Have calls wait for storage again."""
    _given_up.clear()


def is_waiting() -> bool:
    """Return whether a thread of this process is waiting for storage to come back."""
    return bool(_waiting)


def with_retries(call: Callable[[], T], seconds: float | None = None) -> T:
    """Retry a call until it succeeds, for at most `seconds`, or `OUTAGE`.

    Raises:
        OSError: the last error; raised at once if it is final: no such file, no permission, disk
            full.
    """
    limit = OUTAGE if seconds is None else seconds
    pause, started = _FIRST_PAUSE, time.monotonic()
    with _counted_as_waiting() as wait:
        while True:
            try:
                result = call()
                _told.clear()
                return result
            except OSError as error:
                away = time.monotonic() - started
                if _is_final(error) or _given_up.is_set() or away > limit:
                    raise
                _tell_after(away, error)
            wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def read_image(path: str, canary: str | None, read: Callable[[str], T]) -> T:
    """Read an image; raise OSError only if other images can still be read.

    Args:
        path: local path or URI.
        canary: an image that could be read when the run began; None does not wait for storage.
        read: reads the image.

    Raises:
        OSError: this image cannot be read.
        OdtkError: storage stayed away for `OUTAGE` seconds.
    """
    for pause in _BRIEF_PAUSES:
        try:
            return read(path)
        except OSError as error:
            if _is_final(error):
                break
            time.sleep(pause)
    if canary is not None:
        _await(canary)
    return read(path)


def _is_final(error: OSError) -> bool:
    return isinstance(error, _FINAL_KINDS) or error.errno in _FINAL


def _await(canary: str) -> None:
    """Wait until an image that was readable is readable again."""
    started = time.monotonic()
    with _counted_as_waiting() as wait:
        while True:
            try:
                return touch(canary)
            except OSError as error:
                away = time.monotonic() - started
                if _given_up.is_set() or away > OUTAGE:
                    raise OdtkError(
                        "the images cannot be read any more",
                        f"{canary}: {error.strerror or error}",
                        "finished shards are kept; continue with --resume once they are back",
                    ) from error
                _tell_after(away, error)
            wait(_FIRST_PAUSE)


def touch(path: str) -> None:
    """Read a file's first bytes.

    Raises:
        OSError: it cannot be read.
    """
    with os_errors(path), files.open_input(path) as stream:
        stream.read(1)


@contextlib.contextmanager
def _counted_as_waiting() -> Iterator[Callable[[float], None]]:
    """Yield a function that waits; from its first call to the end of the block the thread waits.

    What it tries in between counts too, since a call to storage that is away may take long.
    """
    thread = threading.get_ident()

    def wait(seconds: float) -> None:
        _waiting.add(thread)
        _given_up.wait(seconds)

    try:
        yield wait
    finally:
        _waiting.discard(thread)
