"""Non-maximum suppression for one long list of boxes, most of which are far from each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from odtk_ray.ops.boxes import areas, iou
from odtk_ray.ops.rotated import corners, rotated_iou, same_angle_iou

_PAIRS = 1 << 21  # pairs looked at together: about 100 MB
_SLACK = 1e-3  # pixels; more than rounding takes from the enclosing box of a rotated one


def sparse_nms(
    scores: Tensor, boxes: Tensor, classes: Tensor, *, threshold: float, own_angles: bool = True
) -> Tensor:
    """Return the boxes that `nms` without a limit would keep, comparing only boxes that meet.

    A sweep along x finds the pairs whose enclosing boxes meet. Only these have an IoU.

    Args:
        scores: float32 [N], greater than 0.
        boxes: float32 [N, 4], xyxy, inclusive corners; or [N, 6], as in `rotated`. Finite.
        classes: integers [N].
        threshold: IoU that is still tolerated, at least 0.
        own_angles: as in `nms`.

    Returns:
        int64 [K], rows of the survivors by descending score, equal scores in the order given.
    """
    order = scores.argsort(descending=True, stable=True)
    better, worse = _suppressions(boxes[order], classes[order], threshold, own_angles)
    alive = torch.ones(len(order), dtype=torch.bool).numpy()
    for winner, loser in zip(better.tolist(), worse.tolist(), strict=True):
        if alive[winner]:  # all that could remove it came before
            alive[loser] = False
    return order[torch.from_numpy(alive)]


def _suppressions(
    boxes: Tensor, classes: Tensor, threshold: float, own_angles: bool
) -> tuple[Tensor, Tensor]:
    """Return pairs of one class above the IoU threshold: better and worse row, in that order."""
    if boxes.shape[-1] == 6:
        boxes = boxes.double()
    parts = []
    for first, second in _meeting(boxes, classes, own_angles):
        better, worse = torch.minimum(first, second), torch.maximum(first, second)
        near = _overlap(boxes[better], boxes[worse], own_angles) > threshold
        parts.append(torch.stack([better[near], worse[near]]))
    found = torch.cat(parts, dim=1) if parts else torch.empty(2, 0, dtype=torch.int64)
    better, worse = found[:, (found[0] * len(boxes) + found[1]).argsort()]
    return better, worse


def _overlap(better: Tensor, worse: Tensor, own_angles: bool) -> Tensor:
    if better.shape[-1] == 4:
        return iou(worse, areas(worse), better, areas(better))
    return (rotated_iou if own_angles else same_angle_iou)(better, worse)


def _meeting(boxes: Tensor, classes: Tensor, own_angles: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield rows of one class whose enclosing boxes meet, each pair once, a million at a time."""
    if len(boxes) == 0:
        return
    low, high = _ends(boxes, own_angles)
    # Classes side by side: a sweep never meets two of them.
    span = (high.max() - low.min()).clamp(min=0) + 1
    shift = classes.double() * span
    left, by_left = (low[:, 0] + shift).sort()
    right = (high[:, 0] + shift)[by_left]
    count = (torch.searchsorted(left, right) - torch.arange(1, len(left) + 1)).clamp(min=0)
    total = count.cumsum(0)
    limits = torch.arange(1, int(total[-1]) // _PAIRS + 1) * _PAIRS
    cuts = torch.searchsorted(total, limits).tolist()
    for start, stop in pairwise([0, *cuts, len(left)]):
        some = count[start:stop]
        first = torch.arange(start, stop).repeat_interleave(some)
        place = torch.arange(len(first)) - (some.cumsum(0) - some).repeat_interleave(some)
        one, two = by_left[first], by_left[first + 1 + place]
        meets = (low[one, 1] < high[two, 1]) & (low[two, 1] < high[one, 1])
        yield one[meets], two[meets]


def _ends(boxes: Tensor, own_angles: bool) -> tuple[Tensor, Tensor]:
    """Compute enclosing boxes, lower ends and exclusive upper ends; float64 [N, 2] each."""
    if boxes.shape[-1] == 4:
        return boxes[:, :2].double(), boxes[:, 2:].double() + 1
    if not own_angles:  # a box may be turned by any other's angle
        middle = (boxes[:, :2] + boxes[:, 2:4]) / 2
        reach = (boxes[:, 2:4] - boxes[:, :2]).norm(dim=1, keepdim=True) / 2 + _SLACK
        return middle - reach, middle + reach
    outline = corners(boxes)
    return outline.amin(dim=1) - _SLACK, outline.amax(dim=1) + _SLACK
