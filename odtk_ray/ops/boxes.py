"""Box arithmetic with inclusive corners: the width of (x1, y1, x2, y2) is x2 - x1 + 1."""

from __future__ import annotations

import torch
from torch import Tensor


def decode_boxes(deltas: Tensor, anchors: Tensor, limit_w: int, limit_h: int) -> Tensor:
    """Decode boxes from the regression head's deltas, clipped as ODTK's decode.cu clips them.

    With w = x2 - x1 + 1 and h = y2 - y1 + 1 of the anchor::

        centre = (dx * w + x1 + w / 2, dy * h + y1 + h / 2)
        size   = (exp(dw) * w, exp(dh) * h)
        box    = (max(0, centre - size / 2), min(centre + size / 2 - 1, limit - 1))

    Each corner is clipped on one side only, so a box centred outside the picture can have x1
    beyond the limit or x2 below 0. Large deltas overflow to infinity; as in CUDA's fmaxf and
    fminf a NaN loses against the bound, so the result holds no NaN.

    Args:
        deltas: [..., 4], (dx, dy, dw, dh); computed in float32.
        anchors: float32 [..., 4], xyxy, pixels of the network input, shifted to their cell.
        limit_w: width in pixels of the area covered by the level (columns * stride).
        limit_h: height in pixels of that area (rows * stride).

    Returns:
        float32 [..., 4], xyxy, pixels of the network input, inclusive corners.
    """
    dx, dy, dw, dh = deltas.float().unbind(-1)
    x1, y1, x2, y2 = anchors.unbind(-1)
    left, right = _decode_side(dx, dw, x1, x2, limit_w)
    top, bottom = _decode_side(dy, dh, y1, y2, limit_h)
    return torch.stack([left, top, right, bottom], dim=-1)


def _decode_side(
    shift: Tensor, growth: Tensor, low: Tensor, high: Tensor, limit: int
) -> tuple[Tensor, Tensor]:
    """Decode one axis of `decode_boxes`: both ends of the box along it."""
    size = high - low + 1
    centre = shift * size + low + 0.5 * size
    half = 0.5 * (torch.exp(growth) * size)
    first = torch.fmax(centre - half, centre.new_zeros(()))
    last = torch.fmin(centre + half - 1, centre.new_full((), limit - 1))
    return first, last


def areas(boxes: Tensor) -> Tensor:
    """Compute (x2 - x1 + 1) * (y2 - y1 + 1), negative for a box inverted along one axis.

    Args:
        boxes: float32 [..., 4], xyxy, inclusive corners.

    Returns:
        float32 [...], square pixels.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1 + 1) * (y2 - y1 + 1)


def pairwise_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compute the IoU of every box of one set with every box of the other; see `iou`.

    Args:
        boxes1: float32 [..., N, 4], xyxy, inclusive corners.
        boxes2: float32 [..., M, 4], in the same space; leading dimensions broadcast.

    Returns:
        float32 [..., N, M].
    """
    rows, columns = boxes1[..., :, None, :], boxes2[..., None, :, :]
    return iou(rows, areas(rows), columns, areas(columns))


def iou(boxes1: Tensor, areas1: Tensor, boxes2: Tensor, areas2: Tensor) -> Tensor:
    """Compute the IoU of paired boxes, as ODTK's nms.cu computes it in float32.

    inter / (area1 + area2 - inter), where the sides of the intersection, right - left + 1, are at
    least 0. Nothing guards against empty, inverted or infinite boxes: their value may be 0,
    negative, infinite or NaN.

    Args:
        boxes1: float32 [..., 4], xyxy, inclusive corners.
        areas1: float32 [...], the `areas` of boxes1, given since loops reuse them.
        boxes2: float32 [..., 4], in the same space; all dimensions before the last broadcast.
        areas2: float32 [...], the `areas` of boxes2.

    Returns:
        float32 [...].
    """
    # maximum, minimum and clamp hand on a NaN where CUDA's fmaxf and fminf drop it; the quotient
    # is the same, since such a NaN comes from a box whose area is NaN too: one with a NaN corner,
    # or with x1 and x2 at the same infinity. fmax would take 15 times as long on a CPU.
    near = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    far = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    width, height = far.sub_(near).add_(1).clamp_(min=0).unbind(-1)
    inter = width * height
    return inter.div_((areas1 + areas2).sub_(inter))
