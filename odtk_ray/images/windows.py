"""Reads large pictures window by window, instead of decoding them at once.

A TIFF is made of strips or tiles that are compressed one by one. Each becomes a small TIFF of its
own in memory, so that Pillow decodes whatever it can decode, with the memory of one segment.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
from collections import OrderedDict
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from odtk_ray import storage
from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import is_sparse, load, open_image, to_rgb
from odtk_ray.images.image_file import read_image_file
from odtk_ray.records import PLAIN, Traits
from odtk_ray.settings import Preprocessing

Pixels = NDArray[np.uint8]

# Pixels from which on a TIFF is read by its segments if it can be, and a picture should be open
# alone: decoded as a whole each takes 4 bytes.
LARGE = 1 << 25
_SEGMENT = 1 << 26  # pixels of the largest segment that is read, which takes 7 bytes for each
_CACHE = 256 << 20  # bytes of decoded segments kept at most
_BAND = 512  # rows that are made smaller at once
_ROWS = 1 << 20  # pixels that are read at once of uncompressed strips, which have no other unit

# TIFF 6.0. What a segment needs to be decoded: BitsPerSample, Compression, Photometric, FillOrder,
# SamplesPerPixel, PlanarConfiguration, Predictor, ColorMap, ExtraSamples, SampleFormat, JPEGTables,
# YCbCrSubSampling, ReferenceBlackWhite.
_COPIED = (258, 259, 262, 266, 277, 284, 317, 320, 338, 339, 347, 530, 532)
_WIDTH, _HEIGHT, _PLANAR, _ORIENTATION = 256, 257, 284, 274
_BITS, _COMPRESSION, _PHOTOMETRIC, _YCBCR = 258, 259, 262, 6
_ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 278, 322, 323
_STRIPS, _TILES = (273, 279), (324, 325)  # tags of the lists of offsets and of bytes


class Windowed(Protocol):
    """A picture that is read in parts.

    Attributes:
        width: pixels.
        height: pixels.
        traits: what its pixels do not show, as far as it was read.
    """

    width: int
    height: int
    traits: Traits

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Read a part, uint8 [height, width, 3], RGB, inside the picture; thread safe.

        Raises:
            ImageError: it cannot be decoded.
        """


def open_windowed(path: str, prep: Preprocessing) -> Windowed:
    """Open an image file: a large TIFF by its segments, any other decoded as a whole.

    A TIFF that leaves out segments is read this way at any size: Pillow cannot read it.

    Raises:
        ImageError: it cannot be decoded, or has more than `max_pixels` and no small segments.
        OSError: it cannot be read.
    """
    stream = storage.open_input(path)
    image = open_image(stream)
    pixels = image.width * image.height
    large = pixels > min(LARGE, prep.max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (large or is_sparse(image)):
        try:
            return TiffWindows(stream, image, prep)
        except ImageError:
            if pixels > prep.max_pixels or is_sparse(image):
                raise
    stream.close()
    content = read_image_file(path, prep)
    if isinstance(content, bytes):
        return _Whole(*load(content, prep))
    return _Whole(Image.fromarray(content.pixels), content.traits)


def read_reduced(picture: Windowed, limit: int) -> tuple[Image.Image, int]:
    """Read a whole picture, reduced by a whole factor; return both.

    Args:
        picture: is read in bands of rows, so that it is never in memory at its own size.
        limit: pixels that the result may have; the factor is the least that does it.

    Raises:
        ImageError: it cannot be decoded.
    """
    factor = 1
    while -(-picture.width // factor) * -(-picture.height // factor) > limit:
        factor += 1
    whole = Image.new("RGB", (-(-picture.width // factor), -(-picture.height // factor)))
    rows = factor * max(1, _BAND // factor)
    for y in range(0, picture.height, rows):
        band = picture.read(0, y, picture.width, min(rows, picture.height - y))
        whole.paste(Image.fromarray(band).reduce(factor), (0, y // factor))
    return whole, factor


class _Whole:
    """A decoded picture."""

    def __init__(self, image: Image.Image, traits: Traits) -> None:
        self._image, self.traits = image, traits
        self.width, self.height = image.size

    def read(self, x: int, y: int, width: int, height: int) -> Pixels:
        """See `Windowed`."""
        # By windows, so that Pillow's whole picture has no copy in RGB beside it.
        return np.asarray(to_rgb(self._image.crop((x, y, x + width, y + height))))


class TiffWindows:
    """A TIFF read by its strips or tiles.

    Args:
        stream: the file, seekable; it belongs to this object from now on.
        image: its header.
        prep: `exif` has no meaning here.

    Raises:
        ImageError: its layout cannot be read by windows.
    """

    def __init__(
        self, stream: BinaryIO, image: TiffImagePlugin.TiffImageFile, prep: Preprocessing
    ) -> None:
        self.width, self.height = image.size
        self._stream, self._prep, self._tags = stream, prep, image.tag_v2
        self.traits: Traits = PLAIN
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Pixels] = OrderedDict()
        self._cached = 0  # bytes
        if self._tags.get(_PLANAR, 1) != 1:
            raise self._refused("its colours are stored separately (PlanarConfiguration 2)")
        if self._tags.get(_ORIENTATION, 1) != 1:
            raise self._refused("it is stored rotated (Orientation)")
        self._tiled = _TILE_WIDTH in self._tags
        offsets, counts = _TILES if self._tiled else _STRIPS
        if offsets not in self._tags or counts not in self._tags:
            raise self._refused("it does not say where its parts are")
        self._offsets, self._bytes = self._tags[offsets], self._tags[counts]
        if self._tiled:
            self._size = self._tags[_TILE_WIDTH], self._tags[_TILE_HEIGHT]
        else:
            self._size = self.width, min(self._tags.get(_ROWS_PER_STRIP, self.height), self.height)
            self._divide_strips()
        if self._size[0] * self._size[1] > min(_SEGMENT, prep.max_pixels):
            raise self._refused("its segments of {}x{} pixels are too".format(*self._size))
        self._check_segments()
        # A row of windows looks at its strips again and again, and no later one at those above.
        across, down = self._size
        rows = (prep.tile or self.height) + 2 * down
        self._limit = min(3 * -(-self.width // across) * across * rows, _CACHE)

    def _check_segments(self) -> None:
        """See that there is a segment for every part, or a small file could claim endless work."""
        if min(self._size) < 1:
            raise ImageError("its header is damaged: its segments have no pixels")
        needed = -(-self.width // self._size[0]) * -(-self.height // self._size[1])
        listed = min(len(self._offsets), len(self._bytes))
        if listed < needed:
            raise ImageError(
                f"its header is damaged: {self.width}x{self.height} pixels need {needed} segments, "
                f"and it lists {listed}"
            )

    def _divide_strips(self) -> None:
        """Read uncompressed strips that follow each other, or one, by any number of rows."""
        row = -(-self.width * sum(self._tags.get(_BITS, (1,))) // 8)  # bytes
        starts = itertools.accumulate(self._bytes, initial=self._offsets[0])
        plain = self._tags.get(_COMPRESSION, 1) == 1 and self._tags.get(_PHOTOMETRIC) != _YCBCR
        if plain and sum(self._bytes) == row * self.height and [*starts][:-1] == [*self._offsets]:
            if self._stream.seek(0, os.SEEK_END) < self._offsets[0] + row * self.height:
                raise ImageError("the image cannot be decoded: the file ends before its pixels do")
            rows = max(1, min(min(_ROWS, self._prep.max_pixels) // self.width, self.height))
            first = range(0, self.height, rows)
            self._offsets = tuple(self._offsets[0] + y * row for y in first)
            self._bytes = tuple(min(rows, self.height - y) * row for y in first)
            self._size = self.width, rows

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
            if self._bytes[number] == 0:
                nothing = 255 if self._tags.get(_PHOTOMETRIC) == 0 else 0  # where 0 is white
                pixels = np.full((height, self._size[0], 3), nothing, np.uint8)
            else:
                image, traits = load(self._as_file(data, height), self._prep)
                pixels = np.asarray(to_rgb(image))
                if traits.peak is not None:
                    self.traits = Traits(peak=max(traits.peak, self.traits.peak or 0))
            self._cache[number] = pixels
            self._cached += pixels.nbytes
            while self._cached > self._limit and len(self._cache) > 1:
                self._cached -= self._cache.popitem(last=False)[1].nbytes
            return pixels

    def _as_file(self, data: bytes, height: int) -> bytes:
        """Return one segment as a TIFF of one strip."""
        tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=self._tags.prefix)
        for tag in _COPIED:
            if tag in self._tags:
                tags.tagtype[tag] = self._tags.tagtype[tag]
                tags[tag] = self._tags[tag]
        tags[_WIDTH], tags[_HEIGHT], tags[_ROWS_PER_STRIP] = self._size[0], height, height
        tags[_STRIPS[0]], tags[_STRIPS[1]] = 0, len(data)  # moved behind the tags by Pillow
        order = "<" if self._tags.prefix == b"II" else ">"
        head: bytes = self._tags.prefix + struct.pack(f"{order}HI", 42, 8)
        return head + tags.tobytes(8) + data
