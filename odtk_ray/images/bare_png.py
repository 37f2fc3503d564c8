"""PNG files without their metadata, which Pillow refuses whole pictures for.

Pillow unpacks text, XMP and colour profiles while it reads the header, of limited size, and wants
valid checksums of all chunks; a picture needs neither.
"""

from __future__ import annotations

import io
import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What pixels, transparency and orientation depend on.
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf")

# Of 8 KiB, as libpng writes them, a file of 8 GiB has as many; what has more is junk.
_MOST_CHUNKS = 1 << 20


def bare_png(stream: BinaryIO) -> BinaryIO | None:
    """Return a PNG file without its metadata; None for other files and where there is none.

    Args:
        stream: seekable; the result reads from it, so that nothing is copied.
    """
    stream.seek(0)
    if stream.read(len(_SIGNATURE)) != _SIGNATURE:
        return None
    parts, left_out, at = [(0, len(_SIGNATURE))], False, len(_SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        head = _read_at(stream, at, 8)
        if len(head) < 8 or not head[4:].isalpha():
            break
        length = 12 + int.from_bytes(head[:4], "big")  # with length, kind and checksum
        if head[4:] in _NEEDED:
            parts.append((at, length))
        else:
            left_out = True
        at += length
    return cast(BinaryIO, io.BufferedReader(_Parts(stream, parts))) if left_out else None


def _read_at(stream: BinaryIO, at: int, count: int) -> bytes:
    stream.seek(at)
    return stream.read(count)


class _Parts(io.RawIOBase):
    """Some parts of a file, one after the other, as a file."""

    def __init__(self, stream: BinaryIO, parts: list[tuple[int, int]]) -> None:
        self._stream, self._parts, self._at = stream, parts, 0
        self._starts = [0, *itertools.accumulate(length for _, length in parts)]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}
        self._at = base[whence] + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._at >= self._starts[-1]:
            return 0
        part = bisect_right(self._starts, self._at) - 1
        start, length = self._parts[part]
        inside = self._at - self._starts[part]
        view = memoryview(buffer)
        data = _read_at(self._stream, start + inside, min(len(view), length - inside))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
