"""Computes the size of a picture as network input, and resizes it, with ODTK's arithmetic.

Sizes are (width, height) in pixels; arrays are uint8 [height, width, 3], RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from odtk_ray.errors import ImageError
from odtk_ray.settings import Preprocessing


def network_size(width: int, height: int, prep: Preprocessing) -> tuple[int, int, float]:
    """Return the size of an image after resizing, as ODTK's `odtk/data.py` computes it in float64.

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
    """Round both sides up to multiples of `stride` pixels: the (width, height) of the input."""
    return -(-width // stride) * stride, -(-height // stride) * stride


def input_size(width: int, height: int, prep: Preprocessing) -> tuple[int, int]:
    """Return (width, height) of a resized picture's network input: `fit`, or `padded_size`."""
    return prep.fit[::-1] if prep.fit else padded_size(width, height, prep.stride)


def largest_input(prep: Preprocessing) -> tuple[int, int]:
    """Return the (width, height) of the largest network input that any landscape picture has.

    Of upright pictures it is (height, width), except with `fit`.
    """
    return input_size(prep.max_size, min(prep.resize, prep.max_size), prep)


def network_sizes(
    widths: NDArray[np.integer[Any]], heights: NDArray[np.integer[Any]], prep: Preprocessing
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compute padded network sizes of many images or windows: `network_size`, `input_size`.

    Args:
        widths: integers [n], pixels; 0 where unknown.
        heights: integers [n], pixels; 0 where unknown.
        prep: the settings.

    Returns:
        Padded widths and heights, int64 [n] each; both 0 where the size is unknown or where a
        resized side would be 0 pixels long.
    """
    known, sides = _sides(widths, heights, prep)
    ratio = _ratios(sides, prep)
    resized = (ratio * sides).astype(np.int64)  # truncates, as int() does
    usable = known & (resized > 0).all(axis=0)
    if prep.fit:
        sizes = np.array(prep.fit[::-1])[:, None]
    else:
        sizes = -(-resized // prep.stride) * prep.stride
    padded = np.where(usable, sizes, 0)
    return padded[0], padded[1]


def scales(
    widths: NDArray[np.integer[Any]], heights: NDArray[np.integer[Any]], prep: Preprocessing
) -> NDArray[np.float64]:
    """Compute the ratios (net / img) of many images or windows, as `network_size` does.

    Args:
        widths: integers [n], pixels; 0 where unknown.
        heights: integers [n], pixels; 0 where unknown.
        prep: the settings.

    Returns:
        float64 [n]; NaN where the size is unknown.
    """
    known, sides = _sides(widths, heights, prep)
    return np.where(known, _ratios(sides, prep), np.nan)


def _sides(
    widths: NDArray[np.integer[Any]], heights: NDArray[np.integer[Any]], prep: Preprocessing
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which sizes are known, and the sides [2, n] of images or windows; 1 for others."""
    known = (widths > 0) & (heights > 0)
    sides = np.stack([np.where(known, widths, 1), np.where(known, heights, 1)]).astype(np.float64)
    return known, sides if prep.tile is None else np.minimum(sides, prep.tile)


def _ratios(sides: NDArray[np.float64], prep: Preprocessing) -> NDArray[np.float64]:
    ratio: NDArray[np.float64]
    if prep.fit:
        ratio = np.minimum(prep.fit[1] / sides[0], prep.fit[0] / sides[1])
    else:
        short, long = sides.min(axis=0), sides.max(axis=0)
        ratio = prep.resize / short
        ratio = np.where(ratio * long > prep.max_size, prep.max_size / long, ratio)
    return ratio


def resize(pixels: NDArray[np.uint8], new_w: int, new_h: int) -> NDArray[np.uint8]:
    """Resize as Pillow's antialiased BILINEAR does, horizontal pass first.

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
    return np.asarray(resize_image(Image.fromarray(pixels), new_w, new_h))


def resize_image(image: Image.Image, new_w: int, new_h: int) -> Image.Image:
    """Resize one of Pillow's pictures as `resize` does."""
    # Two calls: from Pillow 13 on, a single one may run the vertical pass first.
    if image.width != new_w:
        image = image.resize((new_w, image.height), Image.Resampling.BILINEAR)
    if image.height != new_h:
        image = image.resize((new_w, new_h), Image.Resampling.BILINEAR)
    return image
