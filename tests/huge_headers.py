"""Image files of some bytes whose headers claim anything."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def small_picture(form: str = "PNG") -> bytes:
    """A picture of 32 x 24 pixels, encoded."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(5).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, form)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    head = b"BM" + struct.pack("<IHHI", 154, 0, 0, 54)
    return head + struct.pack("<IIIHHIIIIII", 40, width, height, 1, 24, *bytes(6)) + bytes(100)


def ppm(width: int, height: int) -> bytes:
    return f"P6 {width} {height} 255\n".encode() + bytes(100)


def tiff(tags: dict[int, tuple[int, ...]], length: int = 5000) -> bytes:
    """A TIFF of `length` bytes: values that fit into 32 bits, several of one tag at 200 on."""
    tags = {258: (8,), 259: (1,), 262: (1,), 277: (1,)} | tags
    lists, entries, values = 200, b"", b""
    for tag, numbers in sorted(tags.items()):
        inline = len(numbers) == 1
        place = numbers[0] if inline else lists + len(values)
        entries += struct.pack("<HHII", tag, 4, len(numbers), place)
        values += b"" if inline else struct.pack(f"<{len(numbers)}I", *numbers)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return (head.ljust(lists, b"\0") + values).ljust(length, b"\0")


def strips(width: int, height: int) -> bytes:
    """One strip."""
    return tiff({256: (width,), 257: (height,), 273: (300,), 278: (height,), 279: (100,)})


def tiles(width: int, height: int, side: int = 256, listed: int = 500) -> bytes:
    """Some tiles, all of them left out."""
    none = (0,) * listed
    size = {256: (width,), 257: (height,), 322: (side,), 323: (side,)}
    return tiff(size | {324: none, 325: none})
