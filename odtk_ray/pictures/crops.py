"""Cuts detections out of pictures: where each crop lies, and what its file is called."""

from __future__ import annotations

import os
import re

import numpy as np
from numpy.typing import NDArray

from odtk_ray.pictures.drawn_names import shortened

_NOT_IN_NAMES = re.compile(r"[^\w-]+")
_LONGEST = 60  # bytes of a class in a file's name


def crop_window(
    box_xyxy: NDArray[np.floating], margin: int, size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Return what is cut out for a box: whole pixels, within the picture.

    Args:
        box_xyxy: float [4], pixels, inclusive corners; of a rotated box the one that encloses it.
        margin: pixels that are added on each side.
        size: width and height of the picture.

    Returns:
        x, y, width and height; None where the box has no part in the picture.
    """
    if not np.isfinite(box_xyxy).all():
        return None
    x1, y1 = (max(0, int(np.floor(low)) - margin) for low in box_xyxy[:2])
    x2, y2 = (
        min(side, int(np.ceil(high)) + 1 + margin)
        for side, high in zip(size, box_xyxy[2:], strict=True)
    )
    return (x1, y1, x2 - x1, y2 - y1) if x1 < x2 and y1 < y2 else None


def crop_name(drawn: str, number: int, class_name: str) -> str:
    """Return the path of a crop below the folder of crops.

    Every picture has a folder of its own, and no class name leads out of it: whatever is neither
    letter, digit, `_` nor `-` becomes `_`.

    Args:
        drawn: name of the picture's drawing, which no other picture has.
        number: of the detection in the picture, from 1, the best first.
        class_name: of the detection.
    """
    word = shortened(_NOT_IN_NAMES.sub("_", class_name) or "_", _LONGEST)
    return f"{drawn}/{number:03d}-{word}{os.path.splitext(drawn)[1]}"
