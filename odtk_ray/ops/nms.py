"""Greedy non-maximum suppression within each class, with ODTK's tie order.

Axis-aligned boxes have inclusive corners; rotated ones are compared by their exact polygons.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from odtk_ray.ops.boxes import areas, iou
from odtk_ray.ops.rotated import rotated_iou, rotated_iou_bound, same_angle_iou

# From columns [B, 1] of one box in each image, and the boxes [B, N] in question, to those of them
# that overlap it by more than the threshold.
_Overlaps = Callable[[Tensor, Tensor], Tensor]


def nms(
    scores: Tensor,
    boxes: Tensor,
    classes: Tensor,
    *,
    threshold: float,
    detections: int,
    own_angles: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Select the best boxes of each image as ODTK's nms.cu does, for a whole batch at once.

    Boxes with a score of 0, below, or NaN are dropped and the others are taken by descending
    score, equal scores in the order given. A box is suppressed by a better survivor of its class
    when their IoU is greater than the threshold. The result is the first `detections` survivors,
    and an image's does not depend on the others.

    The IoU of axis-aligned boxes is `boxes.iou`, in float32; NaN suppresses nothing. That of
    rotated ones is `rotated.rotated_iou`, in float64.

    Args:
        scores: float32 [B, N].
        boxes: float32 [B, N, 4], xyxy, inclusive corners; or [B, N, 6], as in `rotated`.
        classes: integers [B, N].
        threshold: IoU that is still tolerated.
        detections: D, how many boxes are returned for each image.
        own_angles: False turns both rotated boxes of a pair by the angle of the worse one, as ODTK
            does by mistake.

    Returns:
        scores float32 [B, D], boxes float32 [B, D, 4 or 6] and classes [B, D] (in the dtype
        given), best first. Unused slots are last and hold 0.
    """
    # A last column of zeros is what unused slots are filled from.
    scores, boxes, classes = pad(scores, (0, 1)), pad(boxes, (0, 0, 0, 1)), pad(classes, (0, 1))
    scores, order = scores.where(scores > 0, 0).sort(dim=1, descending=True, stable=True)
    boxes = _rows(boxes, order)
    classes = classes.gather(1, order)
    if boxes.shape[-1] == 4:
        overlaps = _axis_aligned(boxes, threshold)
    else:
        overlaps = _rotated(boxes, threshold, own_angles)
    kept = _survivors(scores > 0, classes, overlaps, detections)
    return scores.gather(1, kept), _rows(boxes, kept), classes.gather(1, kept)


def _rows(boxes: Tensor, columns: Tensor) -> Tensor:
    """Select some boxes of each image: [B, N, k] and int64 [B, n] to [B, n, k]."""
    return boxes.gather(1, columns[..., None].expand(-1, -1, boxes.shape[-1]))


def _axis_aligned(boxes: Tensor, threshold: float) -> _Overlaps:
    planes = boxes.permute(2, 0, 1).contiguous().permute(1, 2, 0)  # same shape, planes in memory
    sizes = areas(planes)

    def overlaps(first: Tensor, among: Tensor) -> Tensor:
        best = _rows(boxes, first)
        return (iou(planes, sizes, best, sizes.gather(1, first)) > threshold) & among

    return overlaps


def _rotated(boxes: Tensor, threshold: float, own_angles: bool) -> _Overlaps:
    boxes = boxes.double()
    measure = rotated_iou if own_angles else same_angle_iou

    def overlaps(first: Tensor, among: Tensor) -> Tensor:
        best = _rows(boxes, first)
        # Few pairs can overlap enough: only these are worth forty times the arithmetic.
        near = among & (rotated_iou_bound(best, boxes) * (1 + 1e-9) > threshold)
        image, column = near.nonzero(as_tuple=True)
        near[image, column] = measure(best[image, 0], boxes[image, column]) > threshold
        return near

    return overlaps


def _survivors(alive: Tensor, classes: Tensor, overlaps: _Overlaps, detections: int) -> Tensor:
    """Return the columns of each image's first survivors, int64 [B, D]; the last one pads.

    One round a detection: the first box still waiting in each image survives and removes what it
    suppresses, in all images at once. Inputs [B, N] are in order; the last column is unused.
    """
    last = alive.shape[1] - 1
    columns = torch.arange(last + 1, dtype=torch.int32, device=alive.device)
    waiting = columns.where(alive, last)  # a box's own column while it is in the running
    kept = torch.full((len(alive), detections), last, device=alive.device)
    for slot in range(detections):
        first = waiting.amin(dim=1, keepdim=True).long()  # [B, 1]
        if (first == last).all():
            break
        kept[:, slot : slot + 1] = first
        among = (classes == classes.gather(1, first)) & (waiting != last)
        waiting.masked_fill_(overlaps(first, among), last).scatter_(1, first, last)
    return kept
