"""Decoding and suppression as one node, which the TensorRT plugin of cuda_ops/cpp computes."""

from __future__ import annotations

from odtk_ray.artifacts.exported_model import DETECTION_NAMES, ExportedModel
from odtk_ray.exports.graph_builder import GraphBuilder

PLUGIN_DOMAIN, PLUGIN_NAME = "odtk", "OdtkDetections"
_ROTATED_NMS = {"own": 1, "odtk": 2}  # 0: axis-aligned boxes


def add_plugin(builder: GraphBuilder, about: ExportedModel) -> None:
    """Add the node from `score_1..n` and `box_1..n` to `scores`, `boxes` and `classes`.

    TensorRT's ONNX parser finds the plugin by the operator's name. Its attributes are the fields
    that cuda_ops/cpp/src/plugin/plugin_fields.cpp reads.

    Args:
        builder: holds the nodes of the network.
        about: levels, classes and post-processing values.
    """
    levels, post = about.levels, about.post
    heads = [f"{kind}_{i}" for kind in ("score", "box") for i in range(1, len(levels) + 1)]
    builder.add(
        PLUGIN_NAME,
        "detections",
        *heads,
        outputs=len(DETECTION_NAMES),
        domain=PLUGIN_DOMAIN,
        plugin_version="1",
        strides=[level.stride for level in levels],
        anchors=[value for level in levels for value in level.anchors.ravel().tolist()],
        classes=about.classes,
        threshold=post.threshold,
        top_n=post.top_n,
        nms=post.nms,
        detections=post.detections,
        rotated=_ROTATED_NMS[post.rotated_nms] if about.rotated else 0,
    )
    builder.nodes[-1].output[:] = DETECTION_NAMES
