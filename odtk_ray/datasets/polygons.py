"""Outlines of ground truth, as many points and rings as the file has, in flat arrays."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# What is farther out is no coordinate. Below it doubles tell pixels apart, products stay finite.
FARTHEST = 1e15

# Pixels from the origin. No picture is that large, and the masks of COCO, drawn along outlines in
# steps of a fifth of a pixel, take 160 MB for an outline of this size; 1e9 kills the process.
FAR = 1_000_000


@dataclass(frozen=True)
class Polygons:
    """Outlines of n objects; each is one ring of corners, or several that do not overlap.

    Attributes:
        points: float64 [p, 2], (x, y) in pixels of the original image, ring after ring.
        ring_ends: int64 [r + 1], where each ring starts in `points`, and the end.
        object_ends: int64 [n + 1], where each object starts in `ring_ends`, and the end.
    """

    points: Floats
    ring_ends: Ints
    object_ends: Ints

    def rings(self, row: int) -> list[list[float]]:
        """Return one object's rings as COCO has them: [x1, y1, x2, y2, ...] each."""
        first, last = self.object_ends[row : row + 2]
        ends = self.ring_ends[first : last + 1].tolist()
        return [self.points[a:b].ravel().tolist() for a, b in itertools.pairwise(ends)]

    def edges(self) -> Edges:
        """Return the edges of all objects, every ring once around in the direction of x to y."""
        follower = np.arange(1, len(self.points) + 1)
        follower[self.ring_ends[1:] - 1] = self.ring_ends[:-1]
        start, stop = self.points, self.points[follower]
        first = self.ring_ends[:-1]
        # Relative to a point of the ring: far from the origin products would lose digits.
        origin = np.repeat(start[first], np.diff(self.ring_ends), axis=0)
        a, b = start - origin, stop - origin
        doubled = (
            np.add.reduceat(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], first) if len(a) else np.zeros(0)
        )
        back = np.repeat(doubled < 0, np.diff(self.ring_ends))[:, None]
        # No running sum: behind one object that is not finite all others would have no area.
        area = np.zeros(len(self.object_ends) - 1)
        owners = np.repeat(np.arange(len(area)), np.diff(self.object_ends))
        np.add.at(area, owners, np.abs(doubled) / 2)
        return Edges(
            np.where(back, stop, start),
            np.where(back, start, stop),
            self.ring_ends[self.object_ends],
            area,
        )


@dataclass(frozen=True)
class Edges:
    """The edges of n objects.

    Attributes:
        start: float64 [e, 2].
        stop: float64 [e, 2].
        ends: int64 [n + 1], where each object's edges start, and the end.
        area: float64 [n], square pixels.
    """

    start: Floats
    stop: Floats
    ends: Ints
    area: Floats


class PolygonsBuilder:
    """Collects outlines as they are read: 16 bytes a point."""

    def __init__(self) -> None:
        self._points, self._ring_ends, self._object_ends = array("d"), array("q"), array("q")

    def add(self, rings: Sequence[Sequence[float]]) -> None:
        """Add one object; each ring is [x1, y1, x2, y2, ...]."""
        for ring in rings:
            self._points.extend(ring)
            self._ring_ends.append(len(self._points) // 2)
        self._object_ends.append(len(self._ring_ends))

    def build(self, order: Ints) -> Polygons:
        """Return the outlines in another order."""
        points = np.asarray(self._points).reshape(-1, 2)
        ring_ends = np.concatenate([[0], np.asarray(self._ring_ends, np.int64)])
        object_ends = np.concatenate([[0], np.asarray(self._object_ends, np.int64)])
        rings, new_objects = _reordered(object_ends, order)
        places, new_rings = _reordered(ring_ends, rings)
        return Polygons(points[places], new_rings, new_objects)


def _reordered(ends: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Reorder ragged groups; return the positions of their members, and the new ends."""
    counts = np.diff(ends)[order]
    new_ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    shift = np.repeat(ends[:-1][order] - new_ends[:-1], counts)
    return np.arange(new_ends[-1]) + shift, new_ends


def read_rings(segmentation: object) -> list[list[float]] | None:
    """Read the rings of a COCO `segmentation`; None if it is missing, a mask, or not an outline.

    Besides COCO's [[x1, y1, x2, y2, ...], ...] these are understood: one ring without the outer
    list, and rings that are lists of points, [[x, y], [x, y], ...] or [[[x, y], ...], ...], as
    ODTK's documentation of training has them.
    """
    if not isinstance(segmentation, list) or not segmentation:
        return None
    if _is_ring(segmentation) or _is_points(segmentation):
        segmentation = [segmentation]
    rings = [
        ring if _is_ring(ring) else [*itertools.chain(*ring)] if _is_points(ring) else None
        for ring in segmentation
    ]
    if not all(rings):
        return None
    return [[float(value) for value in ring] for ring in rings if ring]


def is_nested(segmentation: object) -> bool:
    """Return whether an outline that `read_rings` understands has each point in its own list."""
    outline = segmentation if isinstance(segmentation, list) else []
    return _is_points(outline) or any(map(_is_points, outline))


def _is_ring(value: Any) -> bool:
    return _is_numbers(value) and len(value) >= 6 and len(value) % 2 == 0


def _is_points(value: Any) -> bool:
    points = isinstance(value, list) and len(value) >= 3
    return points and all(_is_numbers(point) and len(point) == 2 for point in value)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(
        type(item) in (int, float) and abs(item) < FARTHEST and math.isfinite(item)
        for item in value
    )
