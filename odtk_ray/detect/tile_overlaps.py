"""IoUs of pairs of boxes in NumPy, equal to the bit to those of `ops.boxes` and `ops.rotated`.

The definitions, and why they are as they are, stand there; here no torch is needed. Boxes are
planes: one array for each number of a box, [4, P] or [6, P].
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.floating[Any]]
Planes: TypeAlias = Values  # float32 or float64, [4, P]; rotated [6, P]

_SIDES = np.array([-1, 1, 1, -1])[:, None]  # signs of the corners, once around the box
_EDGES = np.array([-1, -1, 1, 1])[:, None]


def box_iou(worse: Planes, better: Planes) -> Values:
    """Compute the IoU of paired boxes; see `ops.boxes.iou`.

    Args:
        worse: float32 [4, P], xyxy, inclusive corners.
        better: float32 [4, P], in the same space.

    Returns:
        float32 [P]; without a union it may be infinite or NaN.
    """
    sides = np.minimum(worse[2:], better[2:]) - np.maximum(worse[:2], better[:2]) + 1
    width, height = np.maximum(sides, 0)
    inter: Values = width * height
    return inter / (_areas(worse) + _areas(better) - inter)


def rotated_iou(better: Planes, worse: Planes) -> Values:
    """Compute the exact IoU of paired rotated boxes; see `ops.rotated.rotated_iou`.

    Args:
        better: float64 [6, P].
        worse: float64 [6, P].

    Returns:
        float64 [P] in [0, 1]; 0 for boxes without an area.
    """
    half_w1, half_h1 = _half_sides(better)
    half_w2, half_h2 = _half_sides(worse)
    (sin1, cos1), (sin2, cos2) = better[4:], worse[4:]
    x0, y0 = _turned_offset(better, worse)
    sin, cos = sin1 * cos2 - cos1 * sin2, cos1 * cos2 + sin1 * sin2
    x = _SIDES * half_w1 * cos - _EDGES * half_h1 * sin + x0
    y = _SIDES * half_w1 * sin + _EDGES * half_h1 * cos + y0
    common = _covered(x, y, half_w2, half_h2)
    return _over_union(common, 4 * half_w1 * half_h1, 4 * half_w2 * half_h2)


def same_angle_iou(better: Planes, worse: Planes) -> Values:
    """Compute the IoU of ODTK's rotated NMS; see `ops.rotated.same_angle_iou`.

    Args:
        better: float64 [6, P].
        worse: float64 [6, P], whose angle counts.

    Returns:
        float64 [P] in [0, 1]; 0 for boxes without an area.
    """
    half_w1, half_h1 = _half_sides(better)
    half_w2, half_h2 = _half_sides(worse)
    right, down = _turned_offset(better, worse)
    common = _shared(right, half_w1, half_w2) * _shared(down, half_h1, half_h2)
    return _over_union(common, 4 * half_w1 * half_h1, 4 * half_w2 * half_h2)


def _areas(boxes: Planes) -> Values:
    x1, y1, x2, y2 = boxes
    area: Values = (x2 - x1 + 1) * (y2 - y1 + 1)
    return area


def _half_sides(boxes: Planes) -> Values:
    sides: Values = np.maximum(boxes[2:4] - boxes[:2], 0) / 2
    return sides


def _turned_offset(better: Planes, worse: Planes) -> tuple[Values, Values]:
    """Compute the vector between the boxes' centres, in the frame of the worse one."""
    ends = better[:4] - worse[:4]
    right, down = (ends[:2] + ends[2:]) / 2
    sin, cos = worse[4:]
    return right * cos + down * sin, down * cos - right * sin


def _shared(distance: Values, half1: Values, half2: Values) -> Values:
    """Compute the common length of two intervals whose centres are `distance` apart."""
    ends = np.minimum(distance + half1, half2) - np.maximum(distance - half1, -half2)
    length: Values = np.maximum(ends, 0)
    return length


def _covered(x: Values, y: Values, half_w: Values, half_h: Values) -> Values:
    """Compute the area of polygons, corners [4, P], inside |x| <= half_w, |y| <= half_h."""
    x_next, y_next = np.roll(x, -1, axis=0), np.roll(y, -1, axis=0)
    run, rise = x_next - x, y_next - y
    start, stop = _clamp(x, half_w), _clamp(x_next, half_w)
    run[run == 0] = 1
    first = y + (start - x) / run * rise
    last = y_next + (stop - x_next) / run * rise
    low, high = np.minimum(first, last), np.maximum(first, last)
    low_in, high_in = _clamp(low, half_h), _clamp(high, half_h)
    inside = (high_in - low_in) * (high_in + low_in) / 2
    above = (np.maximum(high, half_h) - np.maximum(low, half_h)) * half_h
    below = (np.minimum(high, -half_h) - np.minimum(low, -half_h)) * half_h
    height, mean = high - low, low_in
    np.divide(inside + above - below, height, out=mean, where=height > 0)
    parts = (mean + half_h) * (stop - start)
    area: Values = np.abs(parts[0] + parts[1] + parts[2] + parts[3])
    return area


def _clamp(values: Values, limit: Values) -> Values:
    return np.maximum(np.minimum(values, limit), -limit)


def _over_union(common: Values, area1: Values, area2: Values) -> Values:
    common = np.minimum(common, np.minimum(area1, area2))  # rounding may exceed it
    iou = np.zeros_like(common)
    union = area1 + area2 - common
    return np.divide(common, union, out=iou, where=union > 0)
