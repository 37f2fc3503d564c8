"""TIFFs in tiles, which Pillow cannot write."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np


def tiled_tiff(pixels, side, order="<", deflate=False, sparse=False):
    """A TIFF in tiles, byte by byte: Pillow cannot write one. `sparse` leaves out black tiles."""
    height, width, _ = pixels.shape
    padded = np.zeros((-(-height // side) * side, -(-width // side) * side, 3), np.uint8)
    padded[:height, :width] = pixels
    tiles = [
        padded[y : y + side, x : x + side].tobytes()
        for y in range(0, padded.shape[0], side)
        for x in range(0, padded.shape[1], side)
    ]
    if sparse:
        tiles = [tile if any(tile) else b"" for tile in tiles]
    if deflate:
        tiles = [zlib.compress(tile, 1) if tile else b"" for tile in tiles]
    entries = [(256, width), (257, height), (258, 8), (259, 8 if deflate else 1), (262, 2)]
    entries += [(277, 3), (284, 1), (322, side), (323, side)]
    lists = 8 + 2 + 12 * (len(entries) + 2) + 4
    first = lists + 8 * len(tiles)
    body = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    body += struct.pack(f"{order}HHII", 324, 4, len(tiles), lists)
    body += struct.pack(f"{order}HHII", 325, 4, len(tiles), lists + 4 * len(tiles))
    starts = itertools.accumulate(map(len, tiles[:-1]), initial=first)
    offsets = [start if tile else 0 for start, tile in zip(starts, tiles, strict=True)]
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    head += struct.pack(f"{order}H", len(entries) + 2) + body + bytes(4)
    head += struct.pack(f"{order}{2 * len(tiles)}I", *offsets, *[len(t) for t in tiles])
    return head + b"".join(tiles)
