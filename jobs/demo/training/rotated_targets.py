"""Assigns targets to the heads of a rotated model: matches turned anchors with turned boxes.

A rectangle turned by a quarter with its sides swapped is the same rectangle, so every box has four
descriptions. An anchor learns the one that is turned least from its own angle: theta is then at
most pi / 4 away from that of the anchor. Boxes that are nearly as far away are left to other
anchors, so neither sin and cos nor the order of the sides jump where an anchor is to find a box.
(ODTK takes the theta within pi / 4 of 0 for all anchors, unless it is trained with
--absolute-angle.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from odtk_ray.ops.rotated import rotated_iou, rotated_iou_bound
from training.targets import BACKGROUND, HIGH, IGNORED, LOW, encode_boxes

REACH = math.pi / 6  # no anchor takes a box that is turned further away from it
SHARE = 0.6  # of the best overlap that a box has with any anchor, enough for other anchors too
_LEAST = 0.15  # pairs that cannot overlap more are not measured


def turn_anchors(anchors: Tensor, angles: Sequence[float]) -> Tensor:
    """Convert the anchors of a rotated model to the rotated boxes that targets are assigned with.

    Args:
        anchors: float32 [A, 4], xyxy, as `generate_anchors` gives them: all sizes for each angle.
        angles: radians, clockwise on the screen.

    Returns:
        float32 [A, 6], with sin and cos.
    """
    theta = torch.tensor(angles, dtype=anchors.dtype).repeat_interleave(len(anchors) // len(angles))
    return torch.cat([anchors, torch.stack([theta.sin(), theta.cos()], dim=1)], dim=1)


def describe_from(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Choose among the four descriptions of each box the one turned least from its anchor.

    Args:
        boxes: float32 [..., 6].
        anchors: float32 [..., 6], whose angles count.

    Returns:
        float32 [..., 6], the same rectangles.
    """
    sin, cos = _difference(boxes, anchors)
    quarter = (sin.abs() > cos.abs())[..., None]
    back = torch.where(quarter[..., 0], sin, cos)[..., None] < 0
    middle = (boxes[..., :2] + boxes[..., 2:4]) / 2
    half = (boxes[..., 2:4] - boxes[..., :2]) / 2
    half = torch.where(quarter, half.flip(-1), half)
    # theta - pi / 2 has the sin -cos(theta) and the cos sin(theta)
    direction = torch.stack([-boxes[..., 5], boxes[..., 4]], dim=-1)
    direction = torch.where(quarter, direction, boxes[..., 4:])
    direction = torch.where(back, -direction, direction)
    return torch.cat([middle - half, middle + half, direction], dim=-1)


def encode_rotated(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Compute the deltas that `ops.rotated.decode_rotated` turns into these rectangles.

    Args:
        boxes: float32 [..., 6], with sides greater than 0 and sin and cos of length 1.
        anchors: float32 [..., 6].

    Returns:
        float32 [..., 6], (dx, dy, dw, dh, sin, cos).
    """
    described = describe_from(boxes, anchors)
    deltas = encode_boxes(described[..., :4], anchors[..., :4])
    return torch.cat([deltas, described[..., 4:]], dim=-1)


def overlap(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Compute how well anchors fit boxes: rotated IoU, and 0 beyond an angle of `REACH`.

    The angle is that of `describe_from`. It is up to pi / 4, where two descriptions are equally
    near; square anchors overlap a box at any angle, and would have to learn both.

    Args:
        anchors: float32 [..., 6].
        boxes: float32 [..., 6].

    Returns:
        float32 [...], 0 to 1.
    """
    sin, cos = _difference(boxes, anchors)
    near = (cos * cos - sin * sin).abs() > math.cos(2 * REACH)
    return rotated_iou(anchors, boxes) * near


def match_rotated(
    anchors: Tensor,
    boxes: Sequence[Tensor],
    classes: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Give every anchor of some tiles its target, by its `overlap` with their boxes.

    As in `targets.match_upright`, but the limits are lowered for a box that no anchor fits well,
    such as a long thin one: foreground begins at `SHARE` of the best overlap that any anchor has
    with the box, at `HIGH` at most; where anchors cease to count is lowered in proportion. So every
    box is learned from. Of several boxes an anchor takes the one it overlaps most, relative to that
    box's limit, the first of equal ones.

    Args:
        anchors: float32 [N, 6], of a tile, pixels of the network input.
        boxes: for each of B tiles, float32 [n, 6], likewise; n may be 0.
        classes: for each of the tiles, int64 [n].

    Returns:
        Labels, int64 [B, N]: a class, `BACKGROUND` or `IGNORED`; and deltas, float32 [B, N, 6],
        which mean something for foreground only.
    """
    tiles, count, every = len(boxes), len(anchors), torch.cat(list(boxes))
    device = anchors.device
    sizes = torch.tensor([len(own) for own in boxes], device=device)
    tile = torch.arange(tiles, device=device).repeat_interleave(sizes)
    near = rotated_iou_bound(anchors[:, None], every) > _LEAST
    anchor, box = near.nonzero(as_tuple=True)
    fit = overlap(anchors[anchor], every[box])
    best = fit.new_zeros(len(every)).scatter_reduce(0, box, fit, "amax")
    relative = fit / (SHARE * best[box]).clamp(max=HIGH)
    relative = relative.nan_to_num(0)  # of a box that no anchor overlaps
    row = tile[box] * count + anchor
    top = relative.new_zeros(tiles * count).scatter_reduce(0, row, relative, "amax")

    labels = torch.where(top < LOW / HIGH, BACKGROUND, IGNORED)
    deltas = anchors.new_zeros(tiles * count, 6)
    won = ((relative == top[row]) & (relative >= 1)).nonzero()[:, 0]
    first = torch.full_like(labels, len(row)).scatter_reduce(0, row[won], won, "amin")
    won = first[first < len(row)]
    labels[row[won]] = torch.cat(list(classes))[box[won]]
    deltas[row[won]] = encode_rotated(every[box[won]], anchors[anchor[won]])
    return labels.view(tiles, count), deltas.view(tiles, count, 6)


def _difference(boxes: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Compute sin and cos of the angle from each anchor to its box."""
    sin1, cos1 = anchors[..., 4], anchors[..., 5]
    sin2, cos2 = boxes[..., 4], boxes[..., 5]
    return sin2 * cos1 - cos2 * sin1, cos2 * cos1 + sin2 * sin1
