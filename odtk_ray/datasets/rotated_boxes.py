"""Rotated boxes in files: ODTK's five numbers, corners, OpenCV and le90, in double precision.

ODTK's (x, y, w, h, theta) is the box (x, y, w, h) before it is turned about its centre by theta
radians, positive clockwise on the screen (y down). As in all of ODTK's files w and h count both end
pixels, so the corners, which are centres of pixels, lie w - 1 and h - 1 apart. What the conventions
have in common are the corners, and no conversion here moves them. docs/conventions.md has the
drawing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from odtk_ray.records import atan2

Floats = NDArray[np.float64]

# Along w and h from the centre: top left, bottom left, bottom right, top right: ODTK's order.
_SIGNS = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])


def corners(boxes: Floats) -> Floats:
    """Compute the corners of rotated boxes: ODTK's `segmentation`.

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


def from_opencv(boxes: Floats) -> Floats:
    """Convert OpenCV's RotatedRect to ODTK's boxes.

    Args:
        boxes: float64 [n, 5], (centre x, centre y, w, h, angle): degrees, positive clockwise on
            the screen; w and h reach from corner to corner. Of any OpenCV version, and in degrees
            also le90 and le135, since all of these differ in the range of the angle alone.

    Returns:
        float64 [n, 5], (x, y, w, h, theta), theta in radians in (-pi, pi].
    """
    sides = boxes[:, 2:4]
    theta = -((math.pi - np.radians(boxes[:, 4:])) % (2 * math.pi) - math.pi)
    return np.hstack([boxes[:, :2] - sides / 2, sides + 1, theta])


def to_opencv(boxes: Floats) -> Floats:
    """Convert ODTK's boxes to what `cv2.minAreaRect` returns, from OpenCV 4.5.1 on.

    Args:
        boxes: float64 [n, 5], (x, y, w, h, theta).

    Returns:
        float64 [n, 5], (centre x, centre y, w, h, angle), degrees in (0, 90]; w is the side that
        the angle turns away from the x axis, the longer or the shorter one.
    """
    centre, sides, degrees = _parts(boxes)
    quarters = np.ceil(degrees / 90) - 1  # turns that bring the angle into (0, 90]
    swapped = np.where(quarters % 2 == 1, sides[:, ::-1], sides)
    return np.hstack([centre, swapped, degrees - 90 * quarters])


def to_le90(boxes: Floats) -> Floats:
    """Convert ODTK's boxes to the long edge convention of MMRotate.

    Args:
        boxes: float64 [n, 5], (x, y, w, h, theta).

    Returns:
        float64 [n, 5], (centre x, centre y, w, h, angle), radians in [-pi / 2, pi / 2), w >= h.
    """
    centre, sides, degrees = _parts(boxes)
    upright = sides[:, :1] < sides[:, 1:]
    angle = (degrees + 90 * upright + 90) % 180 - 90
    return np.hstack([centre, np.where(upright, sides[:, ::-1], sides), np.radians(angle)])


def _parts(boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """Return centres [n, 2], distances between corners [n, 2], angles in degrees [n, 1].

    In a side of less than a pixel the corners have changed places. Their distance is positive.
    """
    sides = boxes[:, 2:4] - 1
    return boxes[:, :2] + sides / 2, np.abs(sides), np.degrees(boxes[:, 4:])


def _hull(points: Floats) -> Floats:
    """Return the corners of the convex hull, [m, 2], once around: Andrew's monotone chain."""
    ordered = sorted(set(map(tuple, points.tolist())))
    chains = []
    for run in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for x, y in run:
            while len(chain) > 1 and _turn(*chain[-2], *chain[-1], x, y) <= 0:
                chain.pop()
            chain.append((x, y))
        chains.append(chain)
    return np.array(chains[0][:-1] + chains[1][:-1] or ordered)


def _turn(ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> float:
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def enclosing_box(points: Floats) -> Floats:
    """Find the smallest rotated box around points; one of its sides lies on their convex hull.

    Args:
        points: float64 [n, 2], n >= 1, in any order.

    Returns:
        float64 [5], (x, y, w, h, theta); theta in (-pi / 2, pi / 2], along the longer side.
    """
    middle = points.mean(axis=0)
    hull = _hull(points)
    edges = np.roll(hull, -1, axis=0) - hull
    angles = atan2(edges[:, 1], edges[:, 0])
    sin, cos = np.sin(angles)[:, None], np.cos(angles)[:, None]
    x, y = (points - middle).T
    along, across = x * cos + y * sin, y * cos - x * sin  # [angles, n]
    sides = np.stack([np.ptp(along, axis=1), np.ptp(across, axis=1)])
    best = int(np.argmin(sides[0] * sides[1]))
    halves = [(v[best].max() + v[best].min()) / 2 for v in (along, across)]
    s, c = float(sin[best, 0]), float(cos[best, 0])
    centre = middle + np.array([halves[0] * c - halves[1] * s, halves[0] * s + halves[1] * c])
    w, h, theta = *sides[:, best], float(angles[best])
    if w < h:
        w, h, theta = h, w, theta + math.pi / 2
    theta = -((math.pi / 2 - theta) % math.pi - math.pi / 2)
    return np.array([centre[0] - w / 2, centre[1] - h / 2, w + 1, h + 1, theta])
