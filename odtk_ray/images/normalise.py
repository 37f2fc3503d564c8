"""Normalises pixels: (pixels / 255 - mean) / std in float32, as ODTK's loader does.

Here is the only place that says so. The bits are part of every result: divide by 255, subtract,
divide, each rounded to float32, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from odtk_ray.settings import MEAN, STD

Values = TypeVar("Values")  # NDArray[np.float32], or a float32 tensor on any device


def normalise(pixels: Values, mean: Values, std: Values) -> Values:
    """Normalise pixel values; NumPy's arrays and torch's tensors are treated alike.

    On a CPU both give the same bits. On a GPU torch multiplies by the rounded 1 / 255 instead of
    dividing, which moves last bits; the CUDA kernels take `pixel_levels` from the CPU and do not.

    Args:
        pixels: float32, RGB, 0 to 255.
        mean: float32, of the three channels, on values in [0, 1]; broadcast against `pixels`.
        std: likewise.
    """
    values: Any = pixels
    return cast(Values, (values / 255 - mean) / std)


def normalised_batch(
    pictures: Sequence[NDArray[np.uint8]],
    batch: int,
    shape: tuple[int, int],
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> NDArray[np.float32]:
    """Normalise pictures into one batch; padding and missing pictures are 0, as in ODTK.

    Args:
        pictures: at most `batch`, each uint8 [h, w, 3], RGB, of at most `shape`.
        batch: B.
        shape: (H, W) in pixels.
        mean: of the three channels, on values in [0, 1].
        std: likewise.

    Returns:
        [B, 3, H, W].
    """
    columns = np.array(mean, np.float32), np.array(std, np.float32)
    result = np.zeros((batch, 3, *shape), np.float32)
    for slot, picture in zip(result, pictures, strict=False):
        height, width = picture.shape[:2]
        slot[:, :height, :width] = normalise(picture.astype(np.float32), *columns).transpose(
            2, 0, 1
        )
    return result


def pixel_levels(mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Return the normalised value of each of the 256 pixel values, a table for the kernels.

    Args:
        mean: of the three channels, on values in [0, 1].
        std: likewise.

    Returns:
        [3, 256].
    """
    columns = (np.array(column, np.float32)[:, None] for column in (mean, std))
    return normalise(np.arange(256, dtype=np.float32), *columns)
