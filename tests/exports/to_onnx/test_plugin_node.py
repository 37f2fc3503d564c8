"""The node of the TensorRT plugin: its attributes say how to get the detections of the graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from odtk_ray.exports.onnx.half_types import to_half
from odtk_ray.exports.onnx.write_graph import describe_export, to_onnx
from odtk_ray.exports.traced_network import trace_checkpoint
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.ops.decode_heads import decode_heads
from odtk_ray.ops.nms import nms
from odtk_ray.settings import Postprocessing

SIZE = (64, 96)


def run(model, batch):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return [torch.from_numpy(array) for array in session.run(None, {"input_1": batch})]


def follow(node, outputs):
    """Compute the node as its attributes say, which are all that the plugin knows."""
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    heads, levels = len(node.input), len(given["strides"])
    assert heads == 2 * levels
    anchors = torch.tensor(given["anchors"]).reshape(levels, -1, 4)
    assert outputs[0].shape[1] == anchors.shape[1] * given["classes"]
    found = decode_heads(outputs[:levels], outputs[levels:], list(anchors), given["strides"],
                         threshold=given["threshold"], top_n=given["top_n"],
                         rotated=given["rotated"] > 0)  # fmt: skip
    return nms(*found, threshold=given["nms"], detections=given["detections"],
               own_angles=given["rotated"] == 1)  # fmt: skip


@pytest.mark.parametrize(("kind", "angles"), [
    ("ranked", "own"), ("ranked_rotated", "own"), ("ranked_rotated", "odtk")
])  # fmt: skip
def test_its_attributes_say_how_to_find_the_detections(request, kind, angles):
    loaded = load_checkpoint(request.getfixturevalue(kind))
    network, post = trace_checkpoint(loaded), Postprocessing(0.3, 50, 0.4, 20, angles)
    models = {
        outputs: to_onnx(network, describe_export(loaded, SIZE, post, outputs))
        for outputs in ("raw", "detections", "plugin")
    }
    (node,) = (n for n in models["plugin"].graph.node if n.domain == "odtk")
    raw = [output.name for output in models["raw"].graph.output]
    assert (node.op_type, list(node.input)) == ("OdtkDetections", raw)
    assert models["plugin"].graph.output == models["detections"].graph.output
    batch = np.random.default_rng(4).normal(size=(2, 3, *SIZE)).astype(np.float32)
    expected = run(models["detections"], batch)
    assert (expected[0] > 0).sum() > 10
    for one, other in zip(follow(node, run(models["raw"], batch)), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("name", ["plugin", "fp32"])
def test_it_takes_float32_of_a_network_in_float16(plan_models, name):
    half = to_half(onnx.load(plan_models / f"{name}.onnx"))
    onnx.checker.check_model(half)
    shaped = onnx.shape_inference.infer_shapes(half)
    kinds = {v.name: v.type.tensor_type.elem_type
             for v in (*shaped.graph.value_info, *shaped.graph.output)}  # fmt: skip
    heads = {name: kind for name, kind in kinds.items() if name[:-1] in ("score_", "box_")}
    assert set(heads.values()) == {onnx.TensorProto.FLOAT}
    assert len(heads) == 10
    assert {opset.domain: opset.version for opset in half.opset_import}[""] == 19
