"""Takes pictures that a program holds already: Pillow's, and arrays."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from odtk_ray.errors import ImageError, UsageError
from odtk_ray.images.decode_image import Decoded
from odtk_ray.images.exif import any_orientation
from odtk_ray.settings import Preprocessing

# Pillow decodes a picture when its pixels are first needed, and a program may give one twice.
_decoding = threading.Lock()


def take_pillow(image: Image.Image, prep: Preprocessing) -> Decoded:
    """Convert a picture of Pillow's to RGB, as its file would be; the picture stays as it is.

    Args:
        image: of at most 8 bits a sample; decoded, or only opened.
        prep: `max_pixels` and `exif`, as for `decode_image`.

    Raises:
        ImageError: it cannot be decoded, is too large, or has more than 8 bits a sample.
    """
    _check_pixels(image.width, image.height, prep)
    if image.mode.startswith(("I", "F")):
        raise ImageError(f"pictures of mode {image.mode} are not supported: give the file's path")
    try:
        with _decoding:
            if prep.exif == "apply" and any_orientation(image) != 1:
                image = ImageOps.exif_transpose(image)
            return Decoded(np.asarray(image.convert("RGB")))
    except Exception as error:  # plugins raise anything that damaged bytes can lead to
        raise ImageError(f"the picture cannot be decoded: {error}") from error


def take_array(pixels: NDArray[Any], prep: Preprocessing) -> Decoded:
    """Take an array as a decoded picture, without copying it.

    Args:
        pixels: uint8 [height, width, 3], RGB; see `check_array`.
        prep: `max_pixels`.

    Raises:
        ImageError: it is too large.
    """
    _check_pixels(pixels.shape[1], pixels.shape[0], prep)
    return Decoded(pixels)


def _check_pixels(width: int, height: int, prep: Preprocessing) -> None:
    if width * height > prep.max_pixels:
        raise ImageError(
            f"too large: {width}x{height} is more than the limit of {prep.max_pixels} pixels"
        )


def check_array(pixels: NDArray[Any]) -> None:
    """Check that an array is a picture.

    Raises:
        UsageError: it is not uint8 [height, width, 3] with at least one pixel.
    """
    shape = pixels.shape
    if pixels.dtype == np.uint8 and len(shape) == 3 and shape[2] == 3 and pixels.size:
        return
    raise UsageError(
        "an array must be uint8 [height, width, 3], RGB",
        f"this one is {pixels.dtype} {list(shape)}",
        _remedy(pixels),
    )


def _remedy(pixels: NDArray[Any]) -> str:
    """Return what makes a picture of the usual other kinds of arrays."""
    rank, ends = pixels.ndim, pixels.shape
    remedies = {
        "gray: np.stack([gray] * 3, axis=-1)": rank == 2,
        "several pictures are given as a list of arrays": rank == 4,
        "channels first: array.transpose(1, 2, 0)": rank == 3 and ends[0] == 3 != ends[2],
        "with transparency: array[..., :3]": rank == 3 and ends[2] == 4,
        "of values in 0..1: (array * 255).round().astype(np.uint8)": pixels.dtype.kind == "f",
    }
    return next((text for text, fits in remedies.items() if fits), "")
