"""The journal of a run folder: the commits of all drivers, in order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from odtk_ray import storage
from odtk_ray.storage.retry import with_retries

_FILE = "commits.jsonl"
_FOLDER = "commits"
# Requests at once: an object store answers each in some 20 ms.
_READERS = 16


class Journal(Protocol):
    """Stores lines durably: they stay once `append` has returned."""

    def mend(self) -> None:
        """Remove what a killed driver left at the end; for the folder's owner."""

    def read(self) -> list[bytes]:
        """Return all whole lines, oldest first; nothing changes."""

    def append(self, lines: Sequence[str]) -> None:
        """Add lines: all of them, or, after a crash, perhaps only the first ones."""


class FileJournal:
    """A local file that is appended to and synced."""

    def __init__(self, run_folder: str) -> None:
        self._path = os.path.join(run_folder, _FILE)

    def mend(self) -> None:
        """See `Journal`; it is a torn last line."""
        length = sum(map(len, self.read()))
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self._path, length)

    def read(self) -> list[bytes]:
        """See `Journal`; a torn last line is left out."""
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
            return [line for line in file if line.endswith(b"\n")]
        return []

    def append(self, lines: Sequence[str]) -> None:
        """See `Journal`."""
        storage.append(self._path, "".join(f"{line}\n" for line in lines).encode())


class ObjectJournal:
    """One small object for each call of `append`, since objects cannot be appended to.

    Their names begin with the plan's digest, so that remains of a partly removed run are not taken
    for another run's; then epoch and count rise.

    Args:
        run_folder: URI of the run folder.
        digest: of the run plan.
        epoch: of this driver; no other driver has the same.
    """

    def __init__(self, run_folder: str, digest: str, epoch: int) -> None:
        self._folder = storage.join(run_folder, _FOLDER)
        self._prefix = digest[:16]
        self._epoch = epoch
        self._count = 0

    def mend(self) -> None:
        """See `Journal`; an object is there whole or not at all."""

    def read(self) -> list[bytes]:
        """See `Journal`."""
        try:
            listing = with_retries(lambda: storage.list_files(self._folder, recursive=False))
        except FileNotFoundError:
            return []
        uris = [storage.join(self._folder, n) for n in listing.names if n.startswith(self._prefix)]
        with ThreadPoolExecutor(_READERS) as pool:
            parts = list(pool.map(lambda uri: with_retries(lambda: storage.read_bytes(uri)), uris))
        return [line for part in parts for line in part.splitlines(keepends=True)]

    def append(self, lines: Sequence[str]) -> None:
        """See `Journal`; here all lines appear together."""
        self._count += 1
        name = f"{self._prefix}-{self._epoch:04d}-{self._count:06d}.jsonl"
        data = "".join(f"{line}\n" for line in lines).encode()
        with_retries(lambda: storage.write_atomic(storage.join(self._folder, name), data))
