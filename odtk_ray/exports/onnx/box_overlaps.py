"""Finds boxes that overlap the best one, inside the ONNX graph: the IoUs of `ops/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from odtk_ray.exports.graph_builder import GraphBuilder
from odtk_ray.exports.onnx.expressions import Scope, Value

_DOUBLE = 11  # TensorProto.DOUBLE

# Signs of the corners, once around the box, and which corner comes next.
_SIDES, _EDGES, _NEXT = (-1, 1, 1, -1), (-1, -1, 1, 1), (1, 2, 3, 0)

# Circles this much larger than those around the boxes: more than rounding takes from them.
_SLACK = 1 + 1e-6

# Called with the graph of a Loop's body and the best box's column, int64 [B, 1, 1]: bool [B, N].
Overlaps: TypeAlias = Callable[[GraphBuilder, str], str]


def axis_aligned(outer: GraphBuilder, boxes: str, threshold: float) -> Overlaps:
    """Find boxes whose `ops.boxes.iou` with the best one, in float32, is above a threshold.

    Args:
        outer: the graph around the Loop; gets what is the same in all rounds.
        boxes: float32 [B, N, 4].
        threshold: IoU that is still tolerated.
    """
    outside = Scope(outer, "nms/areas")
    low, high = outside.of(boxes).columns(0, 2), outside.of(boxes).columns(2)
    areas = (high - low + 1).product()

    def overlaps(body: GraphBuilder, best: str) -> str:
        inside = Scope(body, "round/iou", constants=outer)
        first, last, size = (inside.of(value.name) for value in (low, high, areas))
        place = inside.of(best)
        near = first.maximum(first.rows(place))
        far = last.minimum(last.rows(place))
        inter = (far - near + 1).maximum(0).product()
        return (inter / (size + size.rows(place) - inter) > threshold).name

    return overlaps


class _Boxes(NamedTuple):
    """Rotated boxes in float64, each field [B, 1, N], or [B, 1, 1] of the best ones.

    N comes last: short last axes are slow.
    """

    x1: Value
    y1: Value
    x2: Value
    y2: Value
    sin: Value
    cos: Value
    half_w: Value
    half_h: Value
    reach: Value  # radius of the circle around the box
    area: Value


def rotated(outer: GraphBuilder, boxes: str, threshold: float, *, own_angles: bool) -> Overlaps:
    """Find boxes whose `ops.rotated.rotated_iou` with the best one is above a threshold.

    All is in float64, as it is in `ops.nms`, so that the same boxes are suppressed. Boxes that are
    not finite overlap nothing.

    Args:
        outer: the graph around the Loop; gets what is the same in all rounds.
        boxes: float32 [B, N, 6].
        threshold: IoU that is still tolerated.
        own_angles: False takes `ops.rotated.same_angle_iou`.
    """
    given = Scope(outer, "nms/finite").of(boxes)
    finite = given.where((given * 0).sum(-1).equals(0), 0)
    outside = Scope(outer, "nms/geometry", np.float64)
    everything = _measured(outside.of(finite.name))
    table = outside.add("Transpose", outside.add("Concat", *everything, axis=1), perm=[0, 2, 1])
    measure = _common if own_angles else _common_of_one_angle

    def overlaps(body: GraphBuilder, best: str) -> str:
        inside = Scope(body, "round/iou", np.float64, outer)
        row = inside.add("Transpose", inside.of(table.name).rows(inside.of(best)), perm=[0, 2, 1])
        one = _Boxes(*inside.split(row, len(_Boxes._fields), axis=1))
        among = _Boxes(*(inside.of(value.name) for value in everything))
        right = (one.x1 - among.x1 + (one.x2 - among.x2)) * 0.5
        down = (one.y1 - among.y1 + (one.y2 - among.y2)) * 0.5
        distance = inside.add("Sqrt", right * right + down * down)
        near = distance < (one.reach + among.reach) * _SLACK
        # Rounding may exceed the smaller area. Of two boxes without area the quotient is NaN.
        least = one.area.minimum(among.area)
        common = measure(one, among, right, down).minimum(least)
        iou = common / (one.area + among.area - common)
        return inside.add("Squeeze", near & (iou > threshold), inside.integers(1)).name

    return overlaps


def _measured(boxes: Value) -> _Boxes:
    """Compute once per box, float32 [B, N, 6], what every comparison uses."""
    scope = boxes.scope
    planes = scope.add("Transpose", boxes.cast(_DOUBLE), perm=[0, 2, 1])
    x1, y1, x2, y2, sin, cos = scope.split(planes, 6, axis=1)
    half_w, half_h = ((b - a).maximum(0) * 0.5 for a, b in ((x1, x2), (y1, y2)))
    reach = scope.add("Sqrt", half_w * half_w + half_h * half_h)
    return _Boxes(x1, y1, x2, y2, sin, cos, half_w, half_h, reach, half_w * half_h * 4)


def _common(one: _Boxes, among: _Boxes, right: Value, down: Value) -> Value:
    """Compute the areas [B, 1, N] that a box shares with others; see `ops.rotated.rotated_iou`."""
    scope = right.scope
    x0 = right * among.cos + down * among.sin
    y0 = down * among.cos - right * among.sin
    sin = one.sin * among.cos - one.cos * among.sin
    cos = one.cos * among.cos + one.sin * among.sin
    along = scope.constant("corners/sides", [[side] for side in _SIDES]) * one.half_w  # [B, 4, 1]
    across = scope.constant("corners/edges", [[edge] for edge in _EDGES]) * one.half_h
    x, y = along * cos - across * sin + x0, along * sin + across * cos + y0  # [B, 4, N]
    return _covered(x, y, among.half_w, among.half_h)


def _covered(x: Value, y: Value, half_w: Value, half_h: Value) -> Value:
    """Compute `ops.rotated._covered`, line by line; the corners are on axis 1."""
    scope = x.scope

    def following(value: Value) -> Value:
        return scope.add("Gather", value, scope.integers(*_NEXT), axis=1)

    def clamp(value: Value, limit: Value) -> Value:
        return value.minimum(limit).maximum(-limit)

    x_next, y_next = following(x), following(y)
    run, rise = x_next - x, y_next - y
    start = clamp(x, half_w)
    stop = following(start)
    run = scope.add("Where", run.equals(0), 1, run)  # an upright edge is 0 wide
    first = y + (start - x) / run * rise
    last = y_next + (stop - x_next) / run * rise
    low, high = first.minimum(last), first.maximum(last)
    low_in, high_in = clamp(low, half_h), clamp(high, half_h)
    inside = (high_in - low_in) * (high_in + low_in) * 0.5
    above = (high.maximum(half_h) - low.maximum(half_h)) * half_h
    below = (high.minimum(-half_h) - low.minimum(-half_h)) * half_h
    height = high - low
    mean = ((inside + above - below) / height).where(height > 0, low_in)
    return scope.add("Abs", ((mean + half_h) * (stop - start)).sum(1))


def _common_of_one_angle(one: _Boxes, among: _Boxes, right: Value, down: Value) -> Value:
    """Compute the same areas with both boxes turned by the angle of the worse one."""

    def shared(distance: Value, half1: Value, half2: Value) -> Value:
        ends = (distance + half1).minimum(half2) - (distance - half1).maximum(-half2)
        return ends.maximum(0)

    wide = shared(right * among.cos + down * among.sin, one.half_w, among.half_w)
    return wide * shared(down * among.cos - right * among.sin, one.half_h, among.half_h)
