"""Decodes an image file into a resized RGB picture, with ODTK's arithmetic.

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
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from odtk_ray.errors import ImageError
from odtk_ray.images.bare_png import bare_png
from odtk_ray.images.exif import any_orientation, exif_orientation
from odtk_ray.images.resize import network_size, resize_image
from odtk_ray.images.unsupported import DAMAGED, sample_kind, why_too_large, why_unsupported
from odtk_ray.records import PLAIN, Traits
from odtk_ray.settings import ExifPolicy, Preprocessing

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
        traits: what the pixels do not show.
    """

    pixels: NDArray[np.uint8]
    ratio: float
    width: int
    height: int
    traits: Traits = PLAIN

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels after resizing, before padding."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class Decoded:
    """A decoded image that is not resized yet.

    Attributes:
        pixels: uint8 [h, w, 3], RGB; may be read-only.
        traits: what they do not show.
    """

    pixels: NDArray[np.uint8]
    traits: Traits = PLAIN


@dataclass(frozen=True)
class Header:
    """The facts that a file's header states.

    Attributes:
        width: pixels, before any EXIF orientation.
        height: likewise.
        orientation: 1 (upright) to 8, as EXIF has it; that of TIFF is applied in any case: 1.
    """

    width: int
    height: int
    orientation: int


def read_size(stream: BinaryIO, exif: ExifPolicy) -> tuple[int, int]:
    """Read (width, height) in pixels from an image file's header, without decoding it.

    Args:
        stream: seekable binary file; stays open.
        exif: with "apply", the sides are those after the EXIF orientation.

    Raises:
        ImageError: the header cannot be read.
    """
    header = read_header(stream)
    turned = exif == "apply" and header.orientation >= 5
    return (header.height, header.width) if turned else (header.width, header.height)


def read_header(stream: BinaryIO) -> Header:
    """Read an image file's header, without decoding it.

    Raises:
        ImageError: it cannot be read.
    """
    image = open_image(stream)
    return Header(*image.size, exif_orientation(image))


def orientation(data: bytes) -> int:
    """Read the EXIF orientation of an image file, 1 (upright) to 8, without decoding it.

    Raises:
        ImageError: the header cannot be read.
    """
    return any_orientation(open_image(io.BytesIO(data)))


def decode_image(data: bytes | BinaryIO, prep: Preprocessing) -> NDArray[np.uint8]:
    """Decode the bytes of one image file to RGB, the first frame if there are several.

    Alpha and transparency are dropped, as by Pillow's `convert("RGB")`. 16-bit gray becomes
    v >> 8, the high byte, as Pillow does for 16-bit colour (v >> 4 for 12-bit TIFF); Pillow's own
    conversion would clip it to white. Where 0 is white (TIFF's WhiteIsZero), pixels are inverted,
    which Pillow leaves out at 16 bits. The orientation tag of TIFF belongs to the format and is
    always applied, by Pillow.

    Args:
        data: the file, or a stream that is read while it is decoded.
        prep: `max_pixels` is checked in the header, before decoding; `exif` decides whether the
            EXIF orientation is applied.

    Returns:
        uint8 [height, width, 3], RGB, possibly read-only.

    Raises:
        ImageError: empty, truncated, not an image, too large, or of 32-bit samples.
        OSError: the stream cannot be read.
    """
    return decode(data, prep).pixels


def decode(data: bytes | BinaryIO, prep: Preprocessing) -> Decoded:
    """Decode as `decode_image` does, and say what the pixels do not show."""
    image, traits = load(data, prep)
    return Decoded(np.asarray(to_rgb(image)), traits)


def load_picture(data: bytes | Decoded, prep: Preprocessing) -> Picture:
    """Decode and resize one image; see `decode_image`, `network_size` and `resize`.

    Args:
        data: a file, or what it holds.
        prep: the settings.

    Raises:
        ImageError: the image cannot be decoded or a resized side would be 0 pixels long.
    """
    if isinstance(data, bytes):
        image, traits = load(data, prep)
        image = to_rgb(image)
    else:
        image, traits = Image.fromarray(data.pixels), data.traits
    new_w, new_h, ratio = network_size(*image.size, prep)
    return Picture(np.asarray(resize_image(image, new_w, new_h)), ratio, *image.size, traits)


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)  # AVIF from Pillow 11.3 on


def open_image(stream: BinaryIO) -> Image.Image:
    """Open an image of a known format; nothing but the header is read.

    Raises:
        ImageError: the header cannot be read; the message says why.
        OSError: the stream cannot be read.
    """
    if reason := why_too_large(stream):
        raise ImageError(reason)
    try:
        return Image.open(stream, formats=_formats())
    except Exception as error:  # plugins raise anything that damaged bytes can lead to
        _raise_if_unread(error)
        with contextlib.suppress(Exception):
            if (bare := bare_png(stream)) is not None:
                return Image.open(bare, formats=_formats())
        raise ImageError(_why_not_opened(stream, error)) from error


def _why_not_opened(stream: BinaryIO, error: Exception) -> str:
    if reason := why_unsupported(stream):
        return reason
    if isinstance(error, UnidentifiedImageError):  # its own message holds a memory address
        return DAMAGED
    return f"the image header cannot be read: {_clause(error)}"


def _raise_if_unread(error: Exception) -> None:
    """Raise an error of the storage again; those of decoders have no number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def is_sparse(image: Image.Image) -> bool:
    """Return whether a TIFF leaves out empty strips or tiles, as GDAL does."""
    tags = getattr(image, "tag_v2", {})
    return any(0 in tags.get(counts, ()) for counts in _SEGMENT_BYTES)


def load(data: bytes | BinaryIO, prep: Preprocessing) -> tuple[Image.Image, Traits]:
    """Decode one image file as `decode_image` does; `to_rgb` converts all of it, or parts."""
    if not data:
        raise ImageError("the file is empty (0 bytes)")
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    image = open_image(stream)
    width, height = image.size
    if width * height > prep.max_pixels:
        raise ImageError(
            f"too large: {width}x{height} is more than the limit of {prep.max_pixels} pixels "
            "(--max-pixels; --tile reads TIFFs of any size)"
        )
    if is_sparse(image):
        raise ImageError("a TIFF with empty parts left out can only be read with --tile")
    if image.mode == "F" or (image.mode == "I" and image.format not in _WIDENED_GRAY):
        tags = getattr(image, "tag_v2", None)
        kind = sample_kind(tags) if tags else f"32-bit (mode {image.mode})"
        raise ImageError(f"{kind} samples are not supported")
    peak = None
    with _decoding():
        image = _with_pixels(image, stream)
        turned = exif_orientation(image)  # a PNG may have it behind its pixels
        if prep.exif == "apply" and any_orientation(image) != 1:
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I"):
            image, peak = _high_byte(image)
    image.info.pop("transparency", None)  # dropped with the alpha, and Pillow would warn
    return image, Traits(turned if prep.exif == "ignore" else 1, peak)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert the result of `load`, or a part of it, to RGB; ImageError if Pillow cannot."""
    with _decoding():
        return image if image.mode == "RGB" else image.convert("RGB")


def _with_pixels(image: Image.Image, stream: BinaryIO) -> Image.Image:
    """Decode an opened image; a PNG without its metadata where that is at fault."""
    try:
        image.load()
    except Exception as error:
        _raise_if_unread(error)
        if image.format == "JPEG" and (reason := why_unsupported(stream)):
            raise ImageError(reason) from error
        bare = bare_png(stream) if image.format == "PNG" else None
        if bare is None:
            raise
        image = open_image(bare)
        image.load()
    return image


def _high_byte(image: Image.Image) -> tuple[Image.Image, int | None]:
    """Make 16-bit (or 12-bit) gray 8-bit; also return the largest value of 16 bits."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    values = np.asarray(image)
    high = (values >> (bits - 8)).astype(np.uint8)
    white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    peak = int(values.max()) if bits == 16 else None
    return Image.fromarray(255 - high if white_is_zero else high), peak


@contextlib.contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        _raise_if_unread(error)
        raise ImageError(f"the image cannot be decoded: {_clause(error)}") from error


def _clause(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(error)
    return (text.strip() or type(error).__name__).splitlines()[0][:200]
