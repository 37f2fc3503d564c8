"""Rotated boxes: decoding, corners, and intersection over union without rasterising.

A rotated box is (x1, y1, x2, y2, sin, cos): a box that is turned about its own centre,
((x1 + x2) / 2, (y1 + y2) / 2), by the angle theta, which is positive clockwise on the screen (y
down). Its sides are x2 - x1 and y2 - y1: as in ODTK's rotated NMS and in the `segmentation` that it
writes, the corners are the centres of the corner pixels. docs/conventions.md has the drawing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from odtk_ray.ops.boxes import decode_boxes


def decode_rotated(deltas: Tensor, anchors: Tensor, limit_w: int, limit_h: int) -> Tensor:
    """Decode rotated boxes from the regression head's deltas.

    The un-rotated box is decoded and clipped as `boxes.decode_boxes` does it, so a box at the
    border is shifted or shrunk before it is turned: ODTK's decode does the same. The angle of the
    anchor plays no part. Other than in ODTK, sin and cos are divided by their length, so that the
    box keeps its size; without a direction (both 0, or not finite) theta is 0.

    Args:
        deltas: [..., 6], (dx, dy, dw, dh, sin, cos); computed in float32.
        anchors: float32 [..., 4], un-rotated, xyxy, pixels of the network input, in their cell.
        limit_w: width in pixels of the area covered by the level (columns * stride).
        limit_h: height in pixels of that area (rows * stride).

    Returns:
        float32 [..., 6], pixels of the network input; see the module for the format.
    """
    boxes = decode_boxes(deltas[..., :4], anchors, limit_w, limit_h)
    return torch.cat([boxes, _unit(deltas[..., 4:].float())], dim=-1)


def _unit(direction: Tensor) -> Tensor:
    """Normalise (sin, cos) to length 1, [..., 2]; (0, 1) if the length is 0."""
    length = torch.hypot(direction[..., :1], direction[..., 1:])
    ahead = direction.new_tensor([0.0, 1.0])
    return (direction / length).where((length > 0) & length.isfinite(), ahead)


def corners(boxes: Tensor) -> Tensor:
    """Compute the corners of rotated boxes.

    Source: the rotation of ODTK's nms.cu, x' = x cos - y sin and y' = x sin + y cos.

    Args:
        boxes: float [..., 6].

    Returns:
        float [..., 4, 2], (x, y) of what was top left, top right, bottom right and bottom left
        before the box was turned.
    """
    x1, y1, x2, y2, sin, cos = (v[..., None] for v in boxes.unbind(-1))
    x = (x2 - x1) / 2 * boxes.new_tensor([-1, 1, 1, -1])
    y = (y2 - y1) / 2 * boxes.new_tensor([-1, -1, 1, 1])
    turned = torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
    return turned + torch.stack([(x1 + x2) / 2, (y1 + y2) / 2], dim=-1)


def rotated_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute the IoU of paired rotated boxes, exact up to rounding.

    In the frame of the second box, where that is |x| <= w, |y| <= h, Green's theorem makes the
    common area an integral along the edges of the first one, `_covered`. It is continuous in all
    corners: nothing is decided by which side of a line a corner rounds to, so boxes that touch, are
    equal or lie in each other are no special cases. All is relative to the pair, so distant pairs
    lose nothing.

    Args:
        boxes1: float [..., 6]; float64 for errors below 1e-9, float32 for about 1e-5.
        boxes2: float [..., 6], of the same dtype; all dimensions before the last broadcast.

    Returns:
        float [...] in [0, 1]; 0 for boxes that have no area, are inverted or are not finite.
    """
    half_w1, half_h1 = _half_sides(boxes1)
    half_w2, half_h2 = _half_sides(boxes2)
    right, down = _offset(boxes1, boxes2)
    sin1, cos1 = boxes1[..., 4], boxes1[..., 5]
    sin2, cos2 = boxes2[..., 4], boxes2[..., 5]
    x0, y0 = right * cos2 + down * sin2, down * cos2 - right * sin2
    sin, cos = sin1 * cos2 - cos1 * sin2, cos1 * cos2 + sin1 * sin2
    x = torch.stack([side * half_w1 * cos - edge * half_h1 * sin for side, edge in _TURN], dim=-1)
    y = torch.stack([side * half_w1 * sin + edge * half_h1 * cos for side, edge in _TURN], dim=-1)
    common = _covered(x + x0[..., None], y + y0[..., None], half_w2[..., None], half_h2[..., None])
    return _over_union(common, 4 * half_w1 * half_h1, 4 * half_w2 * half_h2)


_TURN = ((-1, -1), (1, -1), (1, 1), (-1, 1))  # signs of the corners, once around the box


def same_angle_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute the IoU that ODTK's rotated NMS uses: both boxes turned by the second one's angle.

    ODTK builds both polygons with the later box's sin and cos. Its own clipping moves equal
    corners by 0.001 pixels and scales boxes by the length of (sin, cos); neither is repeated.

    Args:
        boxes1: float [..., 6].
        boxes2: float [..., 6], whose angle counts; all dimensions before the last broadcast.

    Returns:
        float [...] in [0, 1]; 0 for boxes that have no area, are inverted or are not finite.
    """
    half_w1, half_h1 = _half_sides(boxes1)
    half_w2, half_h2 = _half_sides(boxes2)
    right, down = _offset(boxes1, boxes2)
    sin, cos = boxes2[..., 4], boxes2[..., 5]
    common = _shared(right * cos + down * sin, half_w1, half_w2)
    common = common * _shared(down * cos - right * sin, half_h1, half_h2)
    return _over_union(common, 4 * half_w1 * half_h1, 4 * half_w2 * half_h2)


def rotated_iou_bound(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute an upper bound of both IoUs above, from enclosing circles and areas.

    Args:
        boxes1: float [..., 6].
        boxes2: float [..., 6]; all dimensions before the last broadcast.

    Returns:
        float [...] in [0, 1]: 0 where the circles do not meet, otherwise the smaller area over
        the larger one.
    """
    half_w1, half_h1 = _half_sides(boxes1)
    half_w2, half_h2 = _half_sides(boxes2)
    right, down = _offset(boxes1, boxes2)
    reach = torch.hypot(half_w1, half_h1) + torch.hypot(half_w2, half_h2)
    area1, area2 = half_w1 * half_h1, half_w2 * half_h2
    bound = torch.minimum(area1, area2) / torch.maximum(area1, area2)
    return bound.where(torch.hypot(right, down) <= reach * (1 + 1e-6), 0).nan_to_num(0.0)


def _half_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = (boxes[..., 2:4] - boxes[..., :2]).clamp(min=0) / 2
    return sides[..., 0], sides[..., 1]


def _offset(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the vector between the boxes' centres without computing the centres."""
    ends = boxes1[..., :4] - boxes2[..., :4]
    middle = (ends[..., :2] + ends[..., 2:]) / 2
    return middle[..., 0], middle[..., 1]


def _shared(distance: Tensor, half1: Tensor, half2: Tensor) -> Tensor:
    """Compute the common length of two intervals whose centres are `distance` apart."""
    ends = torch.minimum(distance + half1, half2) - torch.maximum(distance - half1, -half2)
    return ends.clamp(min=0)


def _covered(x: Tensor, y: Tensor, half_w: Tensor, half_h: Tensor) -> Tensor:
    """Compute the area of a polygon inside the rectangle |x| <= half_w, |y| <= half_h.

    The integral of clamp(y, -half_h, half_h) + half_h over x along the closed outline, where only
    x within the rectangle counts. On a straight edge it is the width in x times the mean of the
    clamped y, which is linear between its kinks at -half_h and half_h.

    Args:
        x: float [..., n], the corners once around, in either direction.
        y: float [..., n].
        half_w: float [..., 1].
        half_h: float [..., 1].

    Returns:
        float [...].
    """
    x_next, y_next = x.roll(-1, dims=-1), y.roll(-1, dims=-1)
    run, rise = x_next - x, y_next - y
    start, stop = _clamp(x, half_w), _clamp(x_next, half_w)
    run = run.where(run != 0, 1)  # an upright edge is 0 wide, whatever its mean
    first = y + (start - x) / run * rise
    last = y_next + (stop - x_next) / run * rise
    low, high = torch.minimum(first, last), torch.maximum(first, last)
    low_in, high_in = _clamp(low, half_h), _clamp(high, half_h)
    inside = (high_in - low_in) * (high_in + low_in) / 2
    above = (torch.maximum(high, half_h) - torch.maximum(low, half_h)) * half_h
    below = (torch.minimum(high, -half_h) - torch.minimum(low, -half_h)) * half_h
    height = high - low
    mean = ((inside + above - below) / height).where(height > 0, low_in)
    return ((mean + half_h) * (stop - start)).sum(dim=-1).abs()


def _clamp(values: Tensor, limit: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(values, limit), -limit)


def _over_union(common: Tensor, area1: Tensor, area2: Tensor) -> Tensor:
    common = torch.minimum(common, torch.minimum(area1, area2))  # rounding may exceed it
    iou = common / (area1 + area2 - common)
    return iou.where(iou.isfinite(), 0)
