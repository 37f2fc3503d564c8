"""Pictures by windows: what is too large to be decoded at once is read where it is looked at.

A TIFF is made of strips or tiles that are compressed one by one. Each becomes a small TIFF of its
own in memory, so that Pillow decodes whatever it can decode, with the memory of one segment.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from odtk_ray.config import Preprocessing
from odtk_ray.data import storage
from odtk_ray.data.images import decode, open_image
from odtk_ray.errors import ImageError

Pixels = NDArray[np.uint8]

_CACHE = 256 << 20  # bytes of decoded segments kept: a row of windows looks at each strip again

# TIFF 6.0. What a segment needs to be decoded: BitsPerSample, Compression, Photometric, FillOrder,
# SamplesPerPixel, PlanarConfiguration, Predictor, ColorMap, ExtraSamples, SampleFormat, JPEGTables,
# YCbCrSubSampling, ReferenceBlackWhite.
_COPIED = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 347, 530, 532)
_WIDTH, _HEIGHT, _PLANAR, _ORIENTATION = 256, 257, 284, 274
_STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325


class Windowed(Protocol):
    """A picture that is read in parts.

    Attributes:
        width: pixels.
        height: pixels.
    """

    width: int
    height: int

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """A part, uint8 [height, width, 3], RGB, which must lie in the picture; thread safe.

        Raises:
            ImageError: it cannot be decoded.
        """


def open_windowed(path: str, prep: Preprocessing) -> Windowed:
    """Open an image file: a TIFF beyond `max_pixels` by windows, any other decoded as a whole.

    Raises:
        ImageError: it cannot be decoded, or is too large and no TIFF.
        OSError: it cannot be read.
    """
    stream = storage.open_input(path)
    image = open_image(stream)
    large = image.width * image.height > prep.max_pixels
    if large and isinstance(image, TiffImagePlugin.TiffImageFile):
        return TiffWindows(stream, image, prep)
    stream.close()
    return _Whole(decode(storage.read_bytes(path), prep))


class _Whole:
    """A decoded picture."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """See `Windowed`."""
        return self._pixels[y : y + height, x : x + width]


class TiffWindows:
    """A TIFF read by its strips or tiles.

    Args:
        stream: the file, seekable; it belongs to this object from now on.
        image: its header.
        prep: `max_pixels` limits the size of a segment; `exif` has no meaning here.

    Raises:
        ImageError: its layout cannot be read by windows.
    """

    def __init__(
        self, stream: BinaryIO, image: TiffImagePlugin.TiffImageFile, prep: Preprocessing
    ) -> None:
        self.width, self.height = image.size
        self._stream, self._prep, self._tags = stream, prep, image.tag_v2
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Pixels] = OrderedDict()
        self._cached = 0  # bytes
        if self._tags.get(_PLANAR, 1) != 1:
            raise self._refused("its colours are stored apart (PlanarConfiguration 2)")
        if self._tags.get(_ORIENTATION, 1) != 1:
            raise self._refused("it is stored turned (Orientation)")
        tiled = _TILE_WIDTH in self._tags
        rows = min(self._tags.get(_ROWS_PER_STRIP, self.height), self.height)
        self._size = (
            (self._tags[_TILE_WIDTH], self._tags[_TILE_HEIGHT]) if tiled else (self.width, rows)
        )
        self._offsets = self._tags[_TILE_OFFSETS if tiled else _STRIP_OFFSETS]
        self._bytes = self._tags[_TILE_BYTES if tiled else _STRIP_BYTES]
        self._tiled = tiled
        if self._size[0] * self._size[1] > prep.max_pixels:
            raise self._refused(f"it is one segment of {self._size[0]}x{self._size[1]} pixels")

    def _refused(self, why: str) -> ImageError:
        return ImageError(f"too large: {self.width}x{self.height}, and {why}")

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """See `Windowed`."""
        across, down = self._size
        columns = -(-self.width // across)
        window = np.empty((height, width, 3), np.uint8)
        for row in range(y // down, (y + height - 1) // down + 1):
            for column in range(x // across, (x + width - 1) // across + 1):
                segment = self._segment(row * columns + column, row)
                left, top = column * across, row * down
                x1, x2 = max(x, left), min(x + width, left + across)
                y1, y2 = max(y, top), min(y + height, top + down)
                part = segment[y1 - top : y2 - top, x1 - left : x2 - left]
                window[y1 - y : y2 - y, x1 - x : x2 - x] = part
        return window

    def _segment(self, number: int, row: int) -> Pixels:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
            self._stream.seek(self._offsets[number])
            data = self._stream.read(self._bytes[number])
            rest = self.height - row * self._size[1]
            height = self._size[1] if self._tiled else min(self._size[1], rest)
            pixels = decode(self._as_file(data, height), self._prep)
            self._cache[number] = pixels
            self._cached += pixels.nbytes
            while self._cached > _CACHE and len(self._cache) > 1:
                self._cached -= self._cache.popitem(last=False)[1].nbytes
            return pixels

    def _as_file(self, data: bytes, height: int) -> bytes:
        """One segment as a TIFF of one strip."""
        tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=self._tags.prefix)
        for tag in _COPIED:
            if tag in self._tags:
                tags.tagtype[tag] = self._tags.tagtype[tag]
                tags[tag] = self._tags[tag]
        tags[_WIDTH], tags[_HEIGHT], tags[_ROWS_PER_STRIP] = self._size[0], height, height
        tags[_STRIP_OFFSETS], tags[_STRIP_BYTES] = 0, len(data)  # moved behind the tags by Pillow
        order = "<" if self._tags.prefix == b"II" else ">"
        head: bytes = self._tags.prefix + struct.pack(f"{order}HI", 42, 8)
        return head + tags.tobytes(8) + data
