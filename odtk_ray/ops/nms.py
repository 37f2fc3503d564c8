"""Greedy non-maximum suppression within each class, with ODTK's inclusive corners and tie order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from odtk_ray.ops.boxes import areas, iou


def nms(
    scores: Tensor, boxes: Tensor, classes: Tensor, *, threshold: float, detections: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best boxes of each image: what ODTK's nms.cu gives, for the whole batch at once.

    Boxes with a score of 0, below, or NaN are dropped and the others are taken by descending
    score, equal scores in the order given. A box is suppressed by a better survivor of its class
    when their IoU (`boxes.iou`) is greater than the threshold; a NaN IoU suppresses nothing. The
    result is the first `detections` survivors, and an image's does not depend on the others.

    Args:
        scores: float32 [B, N].
        boxes: float32 [B, N, 4], xyxy, inclusive corners.
        classes: integers [B, N].
        threshold: IoU that is still tolerated.
        detections: D, how many boxes are returned for each image.

    Returns:
        scores float32 [B, D], boxes float32 [B, D, 4] and classes [B, D] (in the dtype given),
        best first. Unused slots are last and hold 0.
    """
    # A last column of zeros is what unused slots are filled from.
    scores, boxes, classes = pad(scores, (0, 1)), pad(boxes, (0, 0, 0, 1)), pad(classes, (0, 1))
    scores, order = scores.where(scores > 0, 0).sort(dim=1, descending=True, stable=True)
    boxes = boxes.gather(1, order[..., None].expand_as(boxes))
    classes = classes.gather(1, order)
    kept = _survivors(scores > 0, boxes, classes, threshold, detections)
    return (
        scores.gather(1, kept),
        boxes.gather(1, kept[..., None].expand(-1, -1, 4)),
        classes.gather(1, kept),
    )


def _survivors(
    alive: Tensor, boxes: Tensor, classes: Tensor, threshold: float, detections: int
) -> Tensor:
    """Columns of the first survivors of each image, int64 [B, D], filled up with the last column.

    One round a detection: the first box still waiting in each image survives and removes what it
    suppresses, in all images at once. Inputs [B, N, ...] are in order; the last column is unused.
    """
    last = alive.shape[1] - 1
    columns = torch.arange(last + 1, dtype=torch.int32, device=boxes.device)
    waiting = columns.where(alive, last)  # a box's own column while it is in the running
    planes = boxes.permute(2, 0, 1).contiguous().permute(1, 2, 0)  # same shape, planes in memory
    sizes = areas(planes)
    kept = torch.full((len(boxes), detections), last, device=boxes.device)
    for slot in range(detections):
        first = waiting.amin(dim=1, keepdim=True).long()  # [B, 1]
        if (first == last).all():
            break
        kept[:, slot : slot + 1] = first
        best = boxes.gather(1, first[..., None].expand(-1, -1, 4))
        overlapping = iou(planes, sizes, best, sizes.gather(1, first)) > threshold
        suppressed = overlapping & (classes == classes.gather(1, first))
        waiting.masked_fill_(suppressed, last).scatter_(1, first, last)
    return kept
