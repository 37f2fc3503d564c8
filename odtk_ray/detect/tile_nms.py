"""Non-maximum suppression for one long list of boxes, most of which are far from each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.detect.tile_overlaps import box_iou, rotated_iou, same_angle_iou
from odtk_ray.records import Detections

_PAIRS = 1 << 21  # pairs looked at together: about 100 MB
_SLACK = 1e-3  # pixels; more than rounding takes from the enclosing box of a rotated one

_Rows = NDArray[np.int64]


def survivors(found: Detections, *, threshold: float, own_angles: bool = True) -> _Rows:
    """Return the boxes that `ops.nms` without a limit would keep, comparing only boxes that meet.

    A sweep along x finds the pairs whose enclosing boxes meet. Only these have an IoU.

    Args:
        found: n detections in any order, their boxes in one space, finite.
        threshold: IoU that is still tolerated, at least 0.
        own_angles: as in `ops.nms`.

    Returns:
        int64 [k], rows of the survivors by descending score, equal scores in the order given.
    """
    order = np.argsort(-found.scores, kind="stable")
    pairs = _suppressions(found.boxes[order], found.classes[order], threshold, own_angles)
    alive = np.ones(len(order), bool)
    for winner, loser in zip(*pairs.tolist(), strict=True):
        if alive[winner]:  # all that could remove it came before
            alive[loser] = False
    return order[alive]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # boxes without a union
def _suppressions(
    boxes: NDArray[np.float32], classes: NDArray[np.int32], threshold: float, own_angles: bool
) -> _Rows:
    """Return pairs above the IoU threshold, int64 [2, m]: better and worse row, in that order."""
    planes = np.ascontiguousarray(boxes.T)
    if len(planes) == 6:
        planes = planes.astype(np.float64)
    parts = [np.empty((2, 0), np.int64)]
    for first, second in _meeting(planes, classes, own_angles):
        pairs = np.stack([np.minimum(first, second), np.maximum(first, second)])
        near = _overlap(planes[:, pairs[0]], planes[:, pairs[1]], own_angles) > threshold
        parts.append(pairs[:, near])
    found = np.concatenate(parts, axis=1)
    return found[:, np.argsort(found[0] * len(boxes) + found[1])]


def _overlap(better: NDArray[Any], worse: NDArray[Any], own_angles: bool) -> NDArray[Any]:
    if len(better) == 4:
        return box_iou(worse, better)
    return (rotated_iou if own_angles else same_angle_iou)(better, worse)


def _meeting(
    planes: NDArray[Any], classes: NDArray[np.int32], own_angles: bool
) -> Iterator[tuple[_Rows, _Rows]]:
    """Yield rows of one class whose enclosing boxes meet, each pair once, millions at a time."""
    if not len(classes):
        return
    (left, top), (right, bottom) = _ends(planes, own_angles)
    # Classes side by side: a sweep never meets two of them.
    shift = classes * (max(right.max() - left.min(), 0.0) + 1)
    by_left = np.argsort(left + shift)
    start = (left + shift)[by_left]
    after = np.arange(1, len(start) + 1)
    count = np.maximum(np.searchsorted(start, (right + shift)[by_left]) - after, 0)
    total = np.cumsum(count)
    cuts = np.searchsorted(total, np.arange(_PAIRS, int(total[-1]) + 1, _PAIRS)).tolist()
    for begin, end in pairwise([0, *cuts, len(start)]):
        some = count[begin:end]
        first = np.repeat(np.arange(begin, end), some)
        place = np.arange(len(first)) - np.repeat(np.cumsum(some) - some, some)
        one, two = by_left[first], by_left[first + 1 + place]
        meets = (top[one] < bottom[two]) & (top[two] < bottom[one])
        yield one[meets], two[meets]


def _ends(
    planes: NDArray[Any], own_angles: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute enclosing boxes, lower ends and exclusive upper ends; float64 [2, n] each."""
    low, high = planes[:2].astype(np.float64), planes[2:4].astype(np.float64)
    if len(planes) == 4:
        return low, high + 1
    middle, (width, height) = (low + high) / 2, np.abs(high - low)
    if own_angles:
        sin, cos = np.abs(planes[4:])
        reach = np.stack([width * cos + height * sin, width * sin + height * cos]) / 2 + _SLACK
    else:  # a box may be turned by any other's angle
        reach = np.hypot(width, height) / 2 + _SLACK
    return middle - reach, middle + reach
