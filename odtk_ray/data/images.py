"""From the bytes of an image file to the resized RGB picture, with ODTK's arithmetic.

Sizes are (width, height) in pixels; arrays are uint8 [height, width, 3], RGB. All functions may be
called from several threads at once.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from odtk_ray.config import ExifPolicy, Preprocessing
from odtk_ray.errors import ImageError

# `max_pixels` takes the place of Pillow's own limit. That is a constant of the process, and a
# switch around each call would race between threads; so would one for the warnings about odd
# metadata, which would otherwise be printed for every other picture of a large collection.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Pillow knows 40 more, some of which start other programs (EPS) or match any bytes (TGA).
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF")

# 16-bit gray that Pillow holds in 32 bits: PNG in old versions, and PGM, scaled to 0..65535.
_WIDENED_GRAY = ("PNG", "PPM")

# TIFF's StripByteCounts and TileByteCounts.
_SEGMENT_BYTES = (279, 325)


@dataclass(frozen=True)
class Picture:
    """A decoded and resized image.

    Attributes:
        pixels: uint8 [h, w, 3], RGB, resized, not padded; may be read-only.
        ratio: net / img, the scale of both axes before the sides were truncated to integers.
        width: decoded width in pixels, before resizing.
        height: decoded height in pixels, before resizing.
    """

    pixels: NDArray[np.uint8]
    ratio: float
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels after resizing, before padding."""
        return self.pixels.shape[1], self.pixels.shape[0]


def network_size(width: int, height: int, prep: Preprocessing) -> tuple[int, int, float]:
    """Size of an image after resizing, as ODTK's `odtk/data.py` computes it in float64.

    ratio = resize / short side, or max_size / long side where the long side would be longer than
    max_size; each new side is int(ratio * side). The truncation is part of the behaviour: some
    short sides give resize - 1. With `fit` the ratio is the largest with which both sides fit.

    Args:
        width: pixels of the image, at least 1.
        height: pixels of the image, at least 1.
        prep: the settings.

    Returns:
        The new width and height in pixels, before padding, and the ratio (net / img).

    Raises:
        ImageError: a new side would be 0 pixels long.
    """
    if prep.fit:
        ratio = min(prep.fit[1] / width, prep.fit[0] / height)
    else:
        ratio = prep.resize / min(width, height)
        if ratio * max(width, height) > prep.max_size:
            ratio = prep.max_size / max(width, height)
    new_w, new_h = int(ratio * width), int(ratio * height)
    if not (new_w and new_h):
        rule = f"resize {prep.resize}, max size {prep.max_size}"
        if prep.fit:
            rule = f"fit {prep.fit[0]} {prep.fit[1]}"
        raise ImageError(
            f"too narrow: {width}x{height} would be resized to {new_w}x{new_h} pixels ({rule})"
        )
    return new_w, new_h, ratio


def padded_size(width: int, height: int, stride: int) -> tuple[int, int]:
    """Both sides rounded up to multiples of `stride` pixels: the (width, height) of the input."""
    return -(-width // stride) * stride, -(-height // stride) * stride


def input_size(width: int, height: int, prep: Preprocessing) -> tuple[int, int]:
    """The (width, height) of the network input for a resized picture: `fit`, or `padded_size`."""
    return prep.fit[::-1] if prep.fit else padded_size(width, height, prep.stride)


def network_sizes(
    widths: NDArray[np.integer[Any]], heights: NDArray[np.integer[Any]], prep: Preprocessing
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Padded network sizes of many images, or of their windows: `network_size`, `input_size`.

    Args:
        widths: integers [n], pixels; 0 where unknown.
        heights: integers [n], pixels; 0 where unknown.
        prep: the settings.

    Returns:
        Padded widths and heights, int64 [n] each; both 0 where the size is unknown or where a
        resized side would be 0 pixels long.
    """
    known = (widths > 0) & (heights > 0)
    sides = np.stack([np.where(known, widths, 1), np.where(known, heights, 1)]).astype(np.float64)
    if prep.tile is not None:
        sides = np.minimum(sides, prep.tile)
    if prep.fit:
        ratio = np.minimum(prep.fit[1] / sides[0], prep.fit[0] / sides[1])
    else:
        short, long = sides.min(axis=0), sides.max(axis=0)
        ratio = prep.resize / short
        ratio = np.where(ratio * long > prep.max_size, prep.max_size / long, ratio)
    resized = (ratio * sides).astype(np.int64)  # truncates, as int() does
    usable = known & (resized > 0).all(axis=0)
    if prep.fit:
        sizes = np.array(prep.fit[::-1])[:, None]
    else:
        sizes = -(-resized // prep.stride) * prep.stride
    padded = np.where(usable, sizes, 0)
    return padded[0], padded[1]


def read_size(stream: BinaryIO, exif: ExifPolicy) -> tuple[int, int]:
    """The (width, height) in pixels that an image file states in its header; decodes nothing.

    Args:
        stream: seekable binary file; stays open.
        exif: with "apply", the sides are those after the EXIF orientation.

    Raises:
        ImageError: the header cannot be read.
    """
    image = open_image(stream)
    width, height = image.size
    turned = exif == "apply" and image.format != "TIFF" and _orientation(image) >= 5
    return (height, width) if turned else (width, height)


def orientation(data: bytes) -> int:
    """EXIF orientation of an image file, 1 (upright) to 8; decodes nothing.

    Raises:
        ImageError: the header cannot be read.
    """
    return _orientation(open_image(io.BytesIO(data)))


def decode(data: bytes, prep: Preprocessing) -> NDArray[np.uint8]:
    """Decodes the bytes of one image file to RGB, the first frame if there are several.

    Alpha and transparency are dropped, as by Pillow's `convert("RGB")`. 16-bit gray becomes
    v >> 8, the high byte, as Pillow does for 16-bit colour (v >> 4 for 12-bit TIFF); Pillow's own
    conversion would clip it to white. The orientation tag of TIFF belongs to the format and is
    always applied, by Pillow.

    Args:
        data: the file.
        prep: `max_pixels` is checked in the header, before decoding; `exif` decides whether the
            EXIF orientation is applied.

    Returns:
        uint8 [height, width, 3], RGB, possibly read-only.

    Raises:
        ImageError: empty, truncated, not an image, too large, or of 32-bit samples.
    """
    return np.asarray(to_rgb(load(data, prep)))


def resize(pixels: NDArray[np.uint8], new_w: int, new_h: int) -> NDArray[np.uint8]:
    """Pillow's antialiased BILINEAR resize, horizontal pass first.

    A pass whose size does not change is skipped.

    Args:
        pixels: uint8 [h, w, 3].
        new_w: width of the result in pixels, at least 1.
        new_h: height of the result in pixels, at least 1.

    Returns:
        uint8 [new_h, new_w, 3], possibly read-only; `pixels` itself if the size is the same.
    """
    if pixels.shape[:2] == (new_h, new_w):
        return pixels
    return np.asarray(_resize(Image.fromarray(pixels), new_w, new_h))


def load_picture(data: bytes | NDArray[np.uint8], prep: Preprocessing) -> Picture:
    """Decodes and resizes one image; see `decode`, `network_size` and `resize`.

    Args:
        data: a file, or decoded pixels, uint8 [h, w, 3], RGB.
        prep: the settings.

    Raises:
        ImageError: the image cannot be decoded or a resized side would be 0 pixels long.
    """
    image = to_rgb(load(data, prep)) if isinstance(data, bytes) else Image.fromarray(data)
    new_w, new_h, ratio = network_size(*image.size, prep)
    return Picture(np.asarray(_resize(image, new_w, new_h)), ratio, *image.size)


def _resize(image: Image.Image, new_w: int, new_h: int) -> Image.Image:
    # Two calls: from Pillow 13 on, a single one may run the vertical pass first.
    if image.width != new_w:
        image = image.resize((new_w, image.height), Image.Resampling.BILINEAR)
    if image.height != new_h:
        image = image.resize((new_w, new_h), Image.Resampling.BILINEAR)
    return image


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # AVIF from Pillow 11.3 on


def open_image(stream: BinaryIO) -> Image.Image:
    """Open an image of a known format; nothing but the header is read.

    Raises:
        ImageError: the header cannot be read.
    """
    try:
        return Image.open(stream, formats=_formats())
    except UnidentifiedImageError as error:  # its own message holds a memory address
        raise ImageError("not an image, or its header is damaged") from error
    except Exception as error:  # plugins raise anything that damaged bytes can lead to
        raise ImageError(f"the image header cannot be read: {_clause(error)}") from error


def is_sparse(image: Image.Image) -> bool:
    """Whether a TIFF leaves out strips or tiles, as GDAL does where nothing is."""
    tags = getattr(image, "tag_v2", {})
    return any(0 in tags.get(counts, ()) for counts in _SEGMENT_BYTES)


def load(data: bytes, prep: Preprocessing) -> Image.Image:
    """Decodes one image file as `decode` does; `to_rgb` converts all of it, or parts."""
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    image = open_image(io.BytesIO(data))
    width, height = image.size
    if width * height > prep.max_pixels:
        raise ImageError(
            f"too large: {width}x{height} is more than the limit of {prep.max_pixels} pixels "
            "(--max-pixels; --tile reads TIFFs of any size)"
        )
    if is_sparse(image):
        raise ImageError("a TIFF that leaves out parts where nothing is can be read with --tile")
    if image.mode == "F" or (image.mode == "I" and image.format not in _WIDENED_GRAY):
        raise ImageError(f"32-bit samples (mode {image.mode}) are not supported")
    with _decoding():
        image.load()
        if prep.exif == "apply" and _orientation(image) != 1:
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I"):
            image = _high_byte(image)
    image.info.pop("transparency", None)  # dropped with the alpha, and Pillow would warn
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """What `load` gave, or a part of it, in RGB; raises ImageError where Pillow cannot convert."""
    with _decoding():
        return image if image.mode == "RGB" else image.convert("RGB")


def _high_byte(image: Image.Image) -> Image.Image:
    bits = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, (16,))[0]
    return Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8))


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ImageError(f"the image cannot be decoded: {_clause(error)}") from error


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    try:
        # The method of the base class: PNG's own decodes the whole picture first.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _clause(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
