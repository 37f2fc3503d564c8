"""Suppression inside the ONNX graph: `ops.nms` as a Loop of one round a detection.

ONNX's NonMaxSuppression does not know inclusive corners, lets inverted boxes suppress others,
leaves the order of equal scores open, and takes no rotated boxes. This Loop is the same greedy
search as `ops.nms`, with the same arithmetic in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from odtk_ray.artifacts.exported_model import DETECTION_NAMES, ExportedModel
from odtk_ray.exports.graph_builder import GraphBuilder
from odtk_ray.exports.onnx.box_overlaps import Overlaps, axis_aligned, rotated
from odtk_ray.exports.onnx.expressions import Scope

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

_INT32 = 6  # TensorProto.INT32


def add_nms(
    builder: GraphBuilder, about: ExportedModel, scores: str, boxes: str, classes: str, count: int
) -> None:
    """Add the nodes from candidates to `scores`, `boxes` and `classes`.

    Args:
        builder: gets the nodes.
        about: post-processing values, and whether boxes are rotated.
        scores: float32 [B, N]; 0 where there is no candidate.
        boxes: float32 [B, N, 4], or [B, N, 6] if they are rotated.
        classes: int64 [B, N].
        count: N.
    """
    post = about.post
    if about.rotated:
        overlaps = rotated(builder, boxes, post.nms, own_angles=post.rotated_nms == "own")
    else:
        overlaps = axis_aligned(builder, boxes, post.nms)
    scope = Scope(builder, "nms")
    rounds = scope.of(builder.integers(post.detections, scalar=True))
    always = scope.of(builder.constant("true", np.array(True)))
    columns = builder.constant("nms/columns", np.arange(count, dtype=np.int64))
    body = _round(builder, overlaps, classes, columns)
    loop = scope.add("Loop", rounds, always, scope.of(scores), outputs=3, body=body).name

    def ranked(name: str, stacked: str) -> str:  # [D, B, 1] -> [B, D]
        flat = builder.add("Squeeze", f"{name}/flat", stacked, builder.integers(2))
        return builder.add("Transpose", name, flat, perm=[1, 0])

    best = scope.of(ranked(DETECTION_NAMES[0], f"{loop}:1"))
    index = scope.of(ranked("nms/index", f"{loop}:2"))
    used = best > 0
    found = scope.of(boxes).rows(scope.add("Unsqueeze", index, scope.integers(-1)))
    each = scope.add("Unsqueeze", used, scope.integers(-1))
    builder.add("Where", DETECTION_NAMES[1], each.name, found.name, builder.number(0))
    labels = scope.add("GatherElements", scope.of(classes), index, axis=1)
    filled = labels.where(used, scope.of(builder.integers(0, scalar=True)))
    builder.add("Cast", DETECTION_NAMES[2], filled.name, to=_INT32)


def _round(outer: GraphBuilder, overlaps: Overlaps, classes: str, columns: str) -> GraphProto:
    """Add one round: the best waiting box survives, and what it suppresses stops waiting.

    Args:
        outer: gets the constants; the names of its tensors are known inside.
        overlaps: which boxes overlap the best one.
        classes: int64 [B, N].
        columns: int64 [N], 0 to N - 1.

    Returns:
        Body of a Loop over the scores [B, N], 0 for those out of the running; each round gives the
        survivor's score and index [B, 1], or 0 and any index when nothing waits.
    """
    from onnx import TensorProto, helper

    inner = GraphBuilder()
    scope = Scope(inner, "round", constants=outer)
    waiting = scope.of("round/waiting")
    score = scope.add("ReduceMax", waiting, axes=[1], keepdims=1)
    best = scope.add("ArgMax", waiting, axis=1, keepdims=1)  # of equal scores the first
    place = scope.add("Unsqueeze", best, scope.integers(-1))
    label = scope.add("GatherElements", scope.of(classes), best, axis=1)
    suppressed = scope.of(overlaps(inner, place.name)) & scope.of(classes).equals(label)
    out = suppressed | scope.of(columns).equals(best)
    left = scope.add("Where", out, 0, waiting)
    go = scope.add("Identity", scope.of("round/go"))

    def info(name: str, kind: int, *shape: str | int) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    real, whole, flag = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
    inputs = [
        info("round/number", whole),
        info("round/go", flag),
        info(waiting.name, real, "batch", "n"),
    ]
    outputs = [info(go.name, flag), info(left.name, real, "batch", "n")]
    scans = [info(score.name, real, "batch", 1), info(best.name, whole, "batch", 1)]
    return inner.graph("round", inputs, [*outputs, *scans])
