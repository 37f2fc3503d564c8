"""Decoding inside the ONNX graph (`ops.decode_heads` in its operators), then suppression."""

from __future__ import annotations

import numpy as np

from odtk_ray.artifacts.exported_model import DETECTION_NAMES, ExportedLevel, ExportedModel
from odtk_ray.exports.graph_builder import GraphBuilder
from odtk_ray.exports.onnx.expressions import Scope, Value
from odtk_ray.exports.onnx.suppression import add_nms

_FLOAT, _DOUBLE = 1, 11  # of TensorProto


def add_postprocess(builder: GraphBuilder, about: ExportedModel) -> None:
    """Add the nodes from `score_1..n` and `box_1..n` to `scores`, `boxes` and `classes`.

    Args:
        builder: holds the nodes of the network.
        about: levels, classes and post-processing values.
    """
    columns: list[tuple[str, str, str]] = []
    for i, level in enumerate(about.levels, start=1):
        columns.append(_add_decode(builder, about, level, f"score_{i}", f"box_{i}"))
    scores, boxes, classes = (
        builder.add("Concat", f"candidates/{what}", *parts, axis=1)
        for what, parts in zip(DETECTION_NAMES, zip(*columns, strict=True), strict=True)
    )
    count = sum(_kept(about, level) for level in about.levels)
    add_nms(builder, about, scores, boxes, classes, count)


def _kept(about: ExportedModel, level: ExportedLevel) -> int:
    """Return the number of candidates of a level: k."""
    return min(about.post.top_n, len(level.anchors) * about.classes * level.height * level.width)


def _add_decode(
    builder: GraphBuilder, about: ExportedModel, level: ExportedLevel, score: str, delta: str
) -> tuple[str, str, str]:
    """Add `ops.decode_heads.decode_level`: scores [B, k], boxes [B, k, 4 or 6], int64 classes.

    Candidates come by descending score, not in flat order where there are few of them; the stable
    order of the suppression behind makes both the same.
    """
    at = f"{level.label}/decode"
    anchors, cells, values = len(level.anchors), level.height * level.width, about.box_values
    k = _kept(about, level)

    flat = builder.add("Reshape", f"{at}/flat", score, builder.integers(0, -1))
    over = builder.add("Greater", f"{at}/over", flat, builder.number(about.post.threshold))
    kept = builder.add("Where", f"{at}/kept", over, flat, builder.number(0))
    # By ONNX's definition equal values come by ascending index.
    scores = builder.add("TopK", f"{at}/best", kept, builder.integers(k), outputs=2, axis=1)
    channel, cell = _divide(builder, f"{at}/channel", f"{scores}:1", cells)
    anchor, label = _divide(builder, f"{at}/anchor", channel, about.classes)
    row, column = _divide(builder, f"{at}/row", cell, level.width)

    first = builder.add("Mul", f"{at}/anchor_start", anchor, builder.integers(cells, scalar=True))
    place = builder.add("Add", f"{at}/place", first, cell)
    planes = builder.add(
        "Reshape", f"{at}/planes", delta, builder.integers(0, anchors, values, cells)
    )
    points = builder.add("Transpose", f"{at}/points", planes, perm=[0, 1, 3, 2])
    rows = builder.add("Reshape", f"{at}/rows", points, builder.integers(0, -1, values))
    scope = Scope(builder, f"{at}/boxes")
    index = scope.add("Unsqueeze", scope.of(place), scope.integers(-1))
    deltas = scope.of(rows).rows(index)

    table = builder.constant(f"{at}/anchor_table", level.anchors)
    boxes = builder.add("Gather", f"{at}/anchors", table, anchor, axis=0)
    shifted = scope.of(boxes) + scope.of(_origin(builder, at, column, row, level.stride))
    limit = scope.constant(
        f"{at}/limit", [level.width * level.stride - 1, level.height * level.stride - 1]
    )
    ends = _ends(deltas.columns(0, 4), shifted, limit)
    if about.rotated:
        ends.append(_direction(deltas.columns(4)))
    return scores, scope.add("Concat", *ends, axis=-1).name, label


def _divide(builder: GraphBuilder, name: str, value: str, by: int) -> tuple[str, str]:
    """Compute quotient and remainder of non-negative integers."""
    divisor = builder.integers(by, scalar=True)
    quotient = builder.add("Div", name, value, divisor)
    whole = builder.add("Mul", f"{name}/whole", quotient, divisor)
    return quotient, builder.add("Sub", f"{name}/rest", value, whole)


def _origin(builder: GraphBuilder, at: str, column: str, row: str, stride: int) -> str:
    """Compute where the cells lie in the network input, float32 [B, k, 4]: x, y, x, y."""
    ends = [
        builder.add("Unsqueeze", f"{at}/{axis}", value, builder.integers(-1))
        for axis, value in (("x", column), ("y", row))
    ]
    cells = builder.add("Concat", f"{at}/cell", *ends, *ends, axis=-1)
    pixels = builder.add("Mul", f"{at}/pixels", cells, builder.integers(stride, scalar=True))
    return builder.add("Cast", f"{at}/origin", pixels, to=_FLOAT)


def _ends(deltas: Value, anchors: Value, limit: Value) -> list[Value]:
    """Compute `ops.boxes.decode_boxes`, both axes at once: float32 [B, k, 2] for each corner."""
    shift, growth = deltas.columns(0, 2), deltas.columns(2)
    low, high = anchors.columns(0, 2), anchors.columns(2)
    size = high - low + 1
    centre = shift * size + low + size * 0.5
    reach = deltas.scope.add("Exp", growth) * size * 0.5
    near, far = centre - reach, centre + reach - 1
    # A comparison instead of Max and Min: a NaN loses against the bound, as in CUDA.
    return [near.where(near > 0, 0), far.where(far < limit, limit)]


def _direction(given: Value) -> Value:
    """Compute `ops.rotated._unit`: (sin, cos) of length 1, float32 [B, k, 2]; or (0, 1).

    The length is taken in float64, since ONNX has no hypot: squares would leave float32's range.
    """
    scope = given.scope
    wide = given.cast(_DOUBLE)
    length = scope.add("Sqrt", (wide * wide).sum(-1)).cast(_FLOAT)
    usable = (length > 0) & (length < np.inf)
    return (given / length).where(usable, scope.constant("ahead", [0, 1]))
