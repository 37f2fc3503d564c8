"""The journals of a run folder: lines that all drivers add, in order, and anybody may read.

A local one is NAME.jsonl, appended to and synced; on an object store it is the folder NAME.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from odtk_ray import storage
from odtk_ray.storage.retry import with_retries

# Names: what is committed, and what the drivers said.
COMMITS, EVENTS = "commits", "events"

# Requests at once: an object store answers each in some 20 ms.
_READERS = 16


class Journal(Protocol):
    """Stores lines durably: they stay once `append` has returned."""

    def read(self) -> list[bytes]:
        """Return all whole lines, oldest first; changes nothing, so anybody may, at any time."""

    def append(self, lines: Sequence[str]) -> None:
        """Add lines: all of them, or, after a crash, perhaps only the first ones."""


def open_journal(run_folder: str, name: str, digest: str, epoch: int = 0) -> Journal:
    """Return a journal of a run folder.

    Args:
        run_folder: path or URI.
        name: of the journal.
        digest: of the run plan.
        epoch: of the driver that appends; 0 for one who only reads.
    """
    path = storage.join(run_folder, name)
    if storage.is_uri(run_folder):
        return ObjectJournal(path, digest, epoch)
    return FileJournal(f"{path}.jsonl")


class FileJournal:
    """A local file that is appended to and synced."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._torn = False  # whether a driver that ended in mid-line left the last one

    def read(self) -> list[bytes]:
        """See `Journal`; a last line without its end is torn, or still being written."""
        try:
            data = with_retries(lambda: storage.read_bytes(self._path))
        except FileNotFoundError:
            return []
        *lines, rest = data.split(b"\n")
        self._torn = bool(rest)
        return lines

    def append(self, lines: Sequence[str]) -> None:
        """See `Journal`; what `read` found torn gets its end first, as a line that is damaged."""
        text = "".join(f"{line}\n" for line in lines)
        storage.append(self._path, ("\n" * self._torn + text).encode())
        self._torn = False


class ObjectJournal:
    """One small object for each call of `append`, since objects cannot be appended to.

    Their names begin with the plan's digest, so that remains of a partly removed run are not taken
    for another run's; then epoch and count rise.

    Args:
        folder: URI of the folder of these objects.
        digest: of the run plan.
        epoch: of this driver; no other driver has the same.
    """

    def __init__(self, folder: str, digest: str, epoch: int) -> None:
        self._folder = folder
        self._prefix = digest[:16]
        self._epoch = epoch
        self._count = 0

    def read(self) -> list[bytes]:
        """See `Journal`."""
        try:
            listing = with_retries(lambda: storage.list_files(self._folder, recursive=False))
        except FileNotFoundError:
            return []
        uris = [storage.join(self._folder, n) for n in listing.names if n.startswith(self._prefix)]
        with ThreadPoolExecutor(_READERS) as pool:
            parts = list(pool.map(lambda uri: with_retries(lambda: storage.read_bytes(uri)), uris))
        return [line for part in parts for line in part.splitlines()]

    def append(self, lines: Sequence[str]) -> None:
        """See `Journal`; here all lines appear together."""
        self._count += 1
        name = f"{self._prefix}-{self._epoch:04d}-{self._count:06d}.jsonl"
        data = "".join(f"{line}\n" for line in lines).encode()
        with_retries(lambda: storage.write_atomic(storage.join(self._folder, name), data))
