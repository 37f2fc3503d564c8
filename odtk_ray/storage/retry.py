"""Retries calls while storage is away."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
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


# Threads of this process that wait for storage: such a worker does not hang.
_waiting: set[int] = set()


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
    pause, deadline = _FIRST_PAUSE, time.monotonic() + limit
    while True:
        try:
            return call()
        except OSError as error:
            if _is_final(error) or _given_up.is_set() or time.monotonic() > deadline:
                raise
        _wait(pause)
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
    deadline = time.monotonic() + OUTAGE
    while True:
        try:
            return touch(canary)
        except OSError as error:
            if _given_up.is_set() or time.monotonic() > deadline:
                raise OdtkError(
                    "the images cannot be read any more",
                    f"{canary}: {error.strerror or error}",
                    "finished shards are kept; continue with --resume once they are back",
                ) from error
        _wait(_FIRST_PAUSE)


def touch(path: str) -> None:
    """Read a file's first bytes.

    Raises:
        OSError: it cannot be read.
    """
    with os_errors(path), files.open_input(path) as stream:
        stream.read(1)


def _wait(seconds: float) -> None:
    thread = threading.get_ident()
    _waiting.add(thread)
    try:
        _given_up.wait(seconds)
    finally:
        _waiting.discard(thread)
