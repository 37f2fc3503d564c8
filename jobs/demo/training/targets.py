"""Assigns targets to the heads: matches anchors with boxes, and computes their deltas."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import Tensor

from odtk_ray.ops.boxes import pairwise_iou

# Labels of anchors that are to find nothing, and of those that are neither right nor wrong.
BACKGROUND, IGNORED = -1, -2
# IoU below which an anchor is background, and from which on it is foreground; ODTK's.
LOW, HIGH = 0.4, 0.5


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Compute the deltas that `ops.boxes.decode_boxes` turns into these boxes: its inverse.

    With w = x2 - x1 + 1 and the centre x1 + w / 2 of both, and likewise for h::

        delta = ((centre - anchor centre) / anchor size, log(size / anchor size))

    Source: ODTK's box2delta; Ren et al. 2015, arXiv:1506.01497, 3.1.2.

    Args:
        boxes: float32 [..., 4], xyxy, inclusive corners, with sides greater than 0.
        anchors: float32 [..., 4], xyxy, in the same space.

    Returns:
        float32 [..., 4], (dx, dy, dw, dh).
    """
    size, anchor_size = (b[..., 2:] - b[..., :2] + 1 for b in (boxes, anchors))
    shift = boxes[..., :2] + 0.5 * size - anchors[..., :2] - 0.5 * anchor_size
    return torch.cat([shift / anchor_size, torch.log(size / anchor_size)], dim=-1)


def place_anchors(
    anchors: Sequence[Tensor], strides: Sequence[int], width: int, height: int
) -> Tensor:
    """Return the anchors of every cell of every level, in the order of `flatten_heads`.

    Args:
        anchors: for each level, float32 [A, 4], xyxy, of the cell at the origin, or [A, 6] with the
            sin and cos of turned ones.
        strides: for each level, pixels of the network input from cell to cell.
        width: of the network input in pixels, a multiple of every stride.
        height: likewise.

    Returns:
        float32 [N, 4 or 6], pixels of the network input.
    """
    levels = []
    for level, stride in zip(anchors, strides, strict=True):
        y, x = torch.meshgrid(
            torch.arange(0, height, stride), torch.arange(0, width, stride), indexing="ij"
        )
        cells = torch.stack([x, y, x, y], dim=-1).to(level)  # [h, w, 4]
        cells = F.pad(cells, (0, level.shape[1] - 4))
        levels.append((cells[:, :, None] + level).reshape(-1, level.shape[1]))
    return torch.cat(levels)


def flatten_heads(levels: Sequence[Tensor], values: int) -> Tensor:
    """Flatten the outputs of a head for all levels, one row per anchor.

    Args:
        levels: for each level, float [B, A * values, h, w], channel anchor * values + value.
        values: numbers of an anchor.

    Returns:
        float [B, N, values], by level, then row, column and anchor.
    """
    rows = [level.permute(0, 2, 3, 1).reshape(len(level), -1, values) for level in levels]
    return torch.cat(rows, dim=1)


def match_upright(
    anchors: Tensor, boxes: Sequence[Tensor], classes: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Give every anchor of some tiles its target, by its IoU with the box it overlaps most.

    From `HIGH` on an anchor is to find that box (the first of equal ones), below `LOW` it is
    background, and between the two it does not count. A box whose best anchor stays below `HIGH`
    is not learned from. Source: ODTK's snap_to_anchors; arXiv:1708.02002, 4.

    Args:
        anchors: float32 [N, 4], xyxy, inclusive corners, pixels of the network input.
        boxes: for each of B tiles, float32 [n, 4], likewise; n may be 0.
        classes: for each of the tiles, int64 [n].

    Returns:
        Labels, int64 [B, N]: a class, `BACKGROUND` or `IGNORED`; and deltas, float32 [B, N, 4],
        which mean something for foreground only.
    """
    rows = [_match(anchors, *tile) for tile in zip(boxes, classes, strict=True)]
    labels, deltas = zip(*rows, strict=True)
    return torch.stack(labels), torch.stack(deltas)


def _match(anchors: Tensor, boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    if not len(boxes):
        nothing = torch.full_like(anchors[:, 0], BACKGROUND, dtype=torch.long)
        return nothing, torch.zeros_like(anchors)
    overlap, nearest = pairwise_iou(anchors, boxes).max(dim=1)
    labels = classes[nearest]
    labels[overlap < HIGH] = IGNORED
    labels[overlap < LOW] = BACKGROUND
    return labels, encode_boxes(boxes[nearest], anchors)
