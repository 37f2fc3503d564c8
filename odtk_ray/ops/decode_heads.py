"""Turns head outputs into candidate boxes: threshold, best scores per level, box decoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from odtk_ray.ops.boxes import decode_boxes
from odtk_ray.ops.rotated import decode_rotated

_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1
_NOTHING = -1  # a key below the key of every candidate


def decode_heads(
    class_scores: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    strides: Sequence[int],
    *,
    threshold: float,
    top_n: int,
    rotated: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the candidates of all pyramid levels, level after level; see `decode_level`.

    Args:
        class_scores: for each level, probabilities [B, A*C, h, w].
        deltas: for each level, box regressions [B, A*4, h, w]; A*6 for rotated boxes.
        anchors: for each level, float32 [A, 4], xyxy, of the cell at the origin.
        strides: for each level, its stride in pixels of the network input.
        threshold: scores must be greater than this; at least 0.
        top_n: at most this many candidates of each level and image.
        rotated: whether the boxes are rotated.

    Returns:
        scores float32 [B, N], boxes float32 [B, N, 4] (xyxy, inclusive corners, pixels of the
        network input; [B, N, 6] as in `rotated`, if they are) and classes int64 [B, N],
        N <= levels * top_n. Unused slots, which may lie between levels, hold 0.
    """
    levels = [
        decode_level(*level, threshold=threshold, top_n=top_n, rotated=rotated)
        for level in zip(class_scores, deltas, anchors, strides, strict=True)
    ]
    scores, boxes, classes = zip(*levels, strict=True)
    return torch.cat(scores, dim=1), torch.cat(boxes, dim=1), torch.cat(classes, dim=1)


def decode_level(
    scores: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    stride: int,
    *,
    threshold: float,
    top_n: int,
    rotated: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the candidates of one pyramid level as ODTK's decode.cu does, for a whole batch.

    A candidate is a score greater than the threshold (in float32; NaN is none). An image with at
    most `top_n` of them keeps all, in the order of their flat index in [A, C, h, w]. An image with
    more keeps the `top_n` best by descending score, equal scores by ascending flat index. An
    image's candidates do not depend on the other images of the batch; only the number of unused
    slots after them does.

    Args:
        scores: probabilities [B, A*C, h, w], channel anchor * C + class, any float dtype.
        deltas: [B, A*4, h, w], channel anchor * 4 + (dx, dy, dw, dh), any float dtype; for rotated
            boxes [B, A*6, h, w], channel anchor * 6 + (dx, dy, dw, dh, sin, cos).
        anchors: float32 [A, 4], xyxy, of the cell at the origin.
        stride: pixels of the network input between neighbouring cells.
        threshold: scores must be greater than this; at least 0.
        top_n: at most this many candidates of each image.
        rotated: whether the boxes are rotated.

    Returns:
        scores float32 [B, k], boxes float32 [B, k, 4] (xyxy, inclusive corners, pixels of the
        network input; [B, k, 6] as in `rotated`, if they are) and classes int64 [B, k], where
        k <= top_n is the largest number of candidates in an image. Unused slots are last and hold
        0.

    Raises:
        ValueError: the threshold is negative or NaN, or the shapes disagree.
    """
    if not threshold >= 0:
        raise ValueError(f"the threshold is {threshold}, it must be at least 0")
    batch, channels, height, width = scores.shape
    values = 6 if rotated else 4
    fitting = (batch, values * len(anchors), height, width)
    if channels % len(anchors) or deltas.shape != fitting:
        raise ValueError(
            f"scores {tuple(scores.shape)}, deltas {tuple(deltas.shape)} and {len(anchors)} "
            "anchors do not fit together"
        )
    num_classes = channels // len(anchors)
    index, used = _select(scores, threshold, top_n)
    column = index % width
    row = index // width % height
    channel = index // (width * height)
    anchor = channel // num_classes

    image = torch.arange(batch, device=scores.device)[:, None]
    kept = scores[image, channel, row, column].float()
    sides = torch.arange(values, device=scores.device)
    regressed = deltas[
        image[..., None], values * anchor[..., None] + sides, row[..., None], column[..., None]
    ]
    origin = (torch.stack([column, row, column, row], dim=-1) * stride).float()
    shifted = origin + anchors.to(scores.device)[anchor]
    regress = decode_rotated if rotated else decode_boxes
    boxes = regress(regressed, shifted, width * stride, height * stride)
    return (
        kept.masked_fill(~used, 0),
        boxes.masked_fill(~used[..., None], 0),
        (channel % num_classes).masked_fill(~used, 0),
    )


def _select(scores: Tensor, threshold: float, top_n: int) -> tuple[Tensor, Tensor]:
    """Select flat indices of each image's candidates, and used slots: int64 and bool [B, k].

    The rows of the feature maps are ranked first, then the cells of the best `top_n` rows. No
    other row matters: each of these holds a candidate that comes before all of another row's.
    So one pass of maxima is all that touches the scores in full, however many are candidates.
    """
    height, width = scores.shape[2:]
    device = scores.device
    maxima = _row_maxima(scores)
    hot_rows = (maxima > threshold).sum(dim=1)
    ranked = _keys(maxima, torch.arange(maxima.shape[1], device=device))
    rows = _indices(ranked.topk(_slots(hot_rows, top_n)).values)  # [B, R]

    image = torch.arange(len(scores), device=device)[:, None]
    cells = scores[image, rows // height, rows % height].float()  # [B, R, w]
    candidate = cells > threshold
    found = candidate.sum(dim=(1, 2))
    # More hot rows than were ranked hold more than top_n candidates, whatever was found in these.
    crowded = torch.maximum(hot_rows, found) > top_n
    order = cells.where(crowded[:, None, None], 0.0)  # all equal: the index decides
    index = rows[..., None] * width + torch.arange(width, device=device)
    keys = _keys(order, index).masked_fill(~candidate, _NOTHING).flatten(1)
    best = keys.topk(_slots(found, top_n)).values
    return _indices(best), best != _NOTHING


def _row_maxima(scores: Tensor) -> Tensor:
    """Return the greatest score of each feature map row, without NaN: float32 [B, A*C*h]."""
    maxima = scores.amax(dim=-1)
    if maxima.isnan().any():  # a NaN hides the candidates of its row
        maxima = scores.masked_fill(scores.isnan(), 0).amax(dim=-1)
    return maxima.float().flatten(1)


def _slots(counts: Tensor, top_n: int) -> int:
    return min(top_n, max(counts.tolist(), default=0))


def _keys(scores: Tensor, index: Tensor) -> Tensor:
    """Make int64 keys that descend with the score and, for equal scores, have lower indices first.

    No two are equal, so that any top-k, stable or not, on any device finds the same ones. The bits
    of floats from 0 up are ordered as their values are; what is below 0 gets a negative key.
    """
    bits = scores.view(torch.int32).long()
    return (bits << _INDEX_BITS) | (_INDEX_MASK - index)


def _indices(keys: Tensor) -> Tensor:
    """Extract the index of each key; 0 for `_NOTHING`."""
    return _INDEX_MASK - (keys & _INDEX_MASK)
