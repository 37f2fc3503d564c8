"""Hashes a file while it is read."""

from __future__ import annotations

import hashlib
from typing import BinaryIO


class HashingReader:
    """A binary stream whose bytes are hashed as they are read.

    Args:
        stream: where to read from.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes, all that is left if it is negative."""
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        """Return the SHA-256 of what has been read so far."""
        return self._hash.hexdigest()
