"""Rotated boxes in files: ODTK's five numbers and their corners, in double precision.

(x, y, w, h, theta): the box (x, y, w, h) before it is turned about its centre by theta radians,
positive clockwise on the screen (y down). As in all of ODTK's files w and h count both end pixels,
so the corners, which are centres of pixels, lie w - 1 and h - 1 apart. docs/conventions.md has the
drawing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Along w and h from the centre: top left, bottom left, bottom right, top right: ODTK's order.
_SIGNS = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])


def corners(boxes: Floats) -> Floats:
    """The corners of rotated boxes: ODTK's `segmentation`.

    Args:
        boxes: float64 [n, 5], (x, y, w, h, theta), pixels and radians.

    Returns:
        float64 [n, 4, 2], (x, y) of what was top left, bottom left, bottom right and top right
        before the box was turned.
    """
    extents = boxes[:, None, 2:4] - 1
    dx, dy = np.moveaxis(extents * _SIGNS, -1, 0)  # [n, 4] each
    sin, cos = np.sin(boxes[:, 4:]), np.cos(boxes[:, 4:])
    turned = np.stack([dx * cos - dy * sin, dx * sin + dy * cos], axis=-1)
    return turned + boxes[:, None, :2] + extents / 2
