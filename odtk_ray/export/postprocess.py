"""Decoding and suppression inside the ONNX graph: `ops.decode` and `ops.nms` in its operators.

ONNX's NonMaxSuppression does not know inclusive corners, lets inverted boxes suppress others, and
leaves the order of equal scores open. A Loop of one round a detection has none of that: it is the
same greedy search as `ops.nms`, with the same arithmetic in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odtk_ray.export.builder import GraphBuilder
from odtk_ray.model.exported import DETECTION_NAMES, ExportedModel, Level

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

_AFTER = np.iinfo(np.int64).max  # the end of a slice that runs to the end


def add_postprocess(builder: GraphBuilder, about: ExportedModel) -> None:
    """Adds the nodes from `score_1..n` and `box_1..n` to `scores`, `boxes` and `classes`.

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
    _add_nms(builder, about, scores, boxes, classes)


def _kept(about: ExportedModel, level: Level) -> int:
    """Candidates of a level: k."""
    return min(about.post.top_n, len(level.anchors) * about.classes * level.height * level.width)


def _add_decode(
    builder: GraphBuilder, about: ExportedModel, level: Level, score: str, delta: str
) -> tuple[str, str, str]:
    """`ops.decode.decode_level`: scores [B, k], boxes [B, k, 4], class indices int64 [B, k].

    Candidates come by descending score, not in flat order where there are few of them; the stable
    order of the suppression behind makes both the same.
    """
    at = f"{level.label}/decode"
    anchors, cells = len(level.anchors), level.height * level.width
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
    planes = builder.add("Reshape", f"{at}/planes", delta, builder.integers(0, anchors, 4, cells))
    points = builder.add("Transpose", f"{at}/points", planes, perm=[0, 1, 3, 2])
    rows = builder.add("Reshape", f"{at}/rows", points, builder.integers(0, -1, 4))
    deltas = _take(builder, f"{at}/deltas", rows, place)

    table = builder.constant(f"{at}/anchor_table", level.anchors)
    boxes = builder.add("Gather", f"{at}/anchors", table, anchor, axis=0)
    origin = _origin(builder, at, column, row, level.stride)
    shifted = builder.add("Add", f"{at}/shifted", boxes, origin)
    limit = [level.width * level.stride - 1, level.height * level.stride - 1]
    return scores, _add_boxes(builder, at, deltas, shifted, limit), label


def _divide(builder: GraphBuilder, name: str, value: str, by: int) -> tuple[str, str]:
    """Quotient and remainder of integers from 0 up."""
    divisor = builder.integers(by, scalar=True)
    quotient = builder.add("Div", name, value, divisor)
    whole = builder.add("Mul", f"{name}/whole", quotient, divisor)
    return quotient, builder.add("Sub", f"{name}/rest", value, whole)


def _take(builder: GraphBuilder, name: str, rows: str, index: str) -> str:
    """Rows [B, k, n] of [B, N, n] by int64 [B, k]."""
    last = builder.add("Unsqueeze", f"{name}/index", index, builder.integers(-1))
    return builder.add("GatherND", name, rows, last, batch_dims=1)


def _origin(builder: GraphBuilder, at: str, column: str, row: str, stride: int) -> str:
    """Where the cells lie in the network input, float32 [B, k, 4]: x, y, x, y."""
    ends = [
        builder.add("Unsqueeze", f"{at}/{axis}", value, builder.integers(-1))
        for axis, value in (("x", column), ("y", row))
    ]
    cells = builder.add("Concat", f"{at}/cell", *ends, *ends, axis=-1)
    pixels = builder.add("Mul", f"{at}/pixels", cells, builder.integers(stride, scalar=True))
    return builder.add("Cast", f"{at}/origin", pixels, to=1)  # FLOAT


def _add_boxes(builder: GraphBuilder, at: str, deltas: str, anchors: str, limit: list[int]) -> str:
    """`ops.boxes.decode_boxes`, both axes at once: float32 [B, k, 4]."""
    one, half = builder.number(1), builder.number(0.5)

    def add(kind: str, name: str, *inputs: str) -> str:
        return builder.add(kind, f"{at}/{name}", *inputs)

    shift, growth = _halves(builder, f"{at}/shift", f"{at}/growth", deltas)
    low, high = _halves(builder, f"{at}/low", f"{at}/high", anchors)
    size = add("Add", "size", add("Sub", "span", high, low), one)
    moved = add("Add", "moved", add("Mul", "scaled_shift", shift, size), low)
    centre = add("Add", "centre", moved, add("Mul", "half_anchor", size, half))
    grown = add("Mul", "grown", add("Exp", "factor", growth), size)
    reach = add("Mul", "reach", grown, half)
    near = add("Sub", "near", centre, reach)
    far = add("Sub", "far", add("Add", "end", centre, reach), one)
    # A comparison instead of Max and Min: a NaN loses against the bound, as in CUDA.
    zero = builder.number(0)
    edge = builder.constant(f"{at}/limit", np.array(limit, np.float32))
    first = add("Where", "first", add("Greater", "inside_first", near, zero), near, zero)
    last = add("Where", "last", add("Less", "inside_last", far, edge), far, edge)
    return builder.add("Concat", f"{at}/boxes", first, last, axis=-1)


def _halves(builder: GraphBuilder, first: str, second: str, rows: str) -> tuple[str, str]:
    """The first two and the last two of the four columns of [..., 4]."""
    begin, middle, end = (builder.integers(n) for n in (0, 2, _AFTER))
    axis = builder.integers(-1)
    return (
        builder.add("Slice", first, rows, begin, middle, axis),
        builder.add("Slice", second, rows, middle, end, axis),
    )


def _add_nms(
    builder: GraphBuilder, about: ExportedModel, scores: str, boxes: str, classes: str
) -> None:
    """`ops.nms.nms`, with the three outputs of the graph."""
    low, high = _halves(builder, "nms/low", "nms/high", boxes)
    _add_areas(builder, low, high)
    total = sum(_kept(about, level) for level in about.levels)
    builder.constant("nms/columns", np.arange(total, dtype=np.int64))
    body = _round(builder, about.post.nms, low, high, classes)
    rounds = builder.integers(about.post.detections, scalar=True)
    always = builder.constant("true", np.array(True))
    loop = builder.add("Loop", "nms/rounds", rounds, always, scores, outputs=3, body=body)

    def ranked(name: str, stacked: str) -> str:  # [D, B, 1] -> [B, D]
        flat = builder.add("Squeeze", f"{name}/flat", stacked, builder.integers(2))
        return builder.add("Transpose", name, flat, perm=[1, 0])

    best = ranked(DETECTION_NAMES[0], f"{loop}:1")
    index = ranked("nms/index", f"{loop}:2")
    used = builder.add("Greater", "nms/used", best, builder.number(0))
    found = _take(builder, "nms/boxes", boxes, index)
    each = builder.add("Unsqueeze", "nms/used_rows", used, builder.integers(-1))
    builder.add("Where", DETECTION_NAMES[1], each, found, builder.number(0))
    labels = builder.add("GatherElements", "nms/classes", classes, index, axis=1)
    filled = builder.add(
        "Where", "nms/filled_classes", used, labels, builder.integers(0, scalar=True)
    )
    builder.add("Cast", DETECTION_NAMES[2], filled, to=6)  # INT32


def _add_areas(builder: GraphBuilder, low: str, high: str) -> None:
    """`ops.boxes.areas`, float32 [B, N], as `nms/areas`."""
    span = builder.add("Sub", "nms/span", high, low)
    sides = builder.add("Add", "nms/sides", span, builder.number(1))
    builder.add("ReduceProd", "nms/areas", sides, axes=[-1], keepdims=0)


def _round(outer: GraphBuilder, threshold: float, low: str, high: str, classes: str) -> GraphProto:
    """One round: the best box that waits survives, and what it suppresses waits no longer.

    Args:
        outer: gets the constants; the names of its tensors are known inside.
        threshold: IoU that is still tolerated.
        low: x1 and y1, float32 [B, N, 2].
        high: x2 and y2, likewise.
        classes: int64 [B, N].

    Returns:
        Body of a Loop over the scores [B, N], 0 for those out of the running; each round gives the
        survivor's score and index [B, 1], or 0 and any index when nothing waits.
    """
    from onnx import TensorProto, helper

    inner = GraphBuilder()

    def add(kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        return inner.add(kind, f"round/{name}", *inputs, **attributes)

    waiting, areas = "round/waiting", "nms/areas"
    score = add("ReduceMax", "score", waiting, axes=[1], keepdims=1)
    best = add("ArgMax", "best", waiting, axis=1, keepdims=1)  # of equal scores the first
    place = add("Unsqueeze", "place", best, outer.integers(-1))
    best_low = add("GatherND", "best_low", low, place, batch_dims=1)
    best_high = add("GatherND", "best_high", high, place, batch_dims=1)
    near = add("Max", "near", low, best_low)
    far = add("Min", "far", high, best_high)
    span = add("Add", "span", add("Sub", "gap", far, near), outer.number(1))
    sides = add("Max", "sides", span, outer.number(0))
    inter = add("ReduceProd", "inter", sides, axes=[-1], keepdims=0)
    both = add("Add", "both", areas, add("GatherElements", "area", areas, best, axis=1))
    iou = add("Div", "iou", inter, add("Sub", "union", both, inter))
    overlapping = add("Greater", "overlapping", iou, outer.number(threshold))
    label = add("GatherElements", "class", classes, best, axis=1)
    suppressed = add("And", "suppressed", overlapping, add("Equal", "same", classes, label))
    itself = add("Equal", "itself", "nms/columns", best)
    out = add("Or", "out", suppressed, itself)
    left = add("Where", "left", out, outer.number(0), waiting)
    go = add("Identity", "go_on", "round/go")

    def info(name: str, kind: int, *shape: str | int) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    real, whole, flag = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
    inputs = [
        info("round/number", whole),
        info("round/go", flag),
        info(waiting, real, "batch", "n"),
    ]
    outputs = [info(go, flag), info(left, real, "batch", "n")]
    scans = [info(score, real, "batch", 1), info(best, whole, "batch", 1)]
    return inner.graph("round", inputs, [*outputs, *scans])
