"""Where Quantize and Dequantize stand: golden places, one entry for each and each for one."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from odtk_ray.errors import UsageError
from odtk_ray.exports.int8.quantization import quantization_points, to_scale
from odtk_ray.exports.onnx.write_graph import describe_export, to_onnx
from odtk_ray.exports.traced_network import trace, trace_checkpoint
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.folding import fold_batch_norms
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.settings import Postprocessing

SIZE = (64, 96)


def points_of(backbone):
    with torch.device("meta"):
        model = RetinaNet([backbone], 2, channels=8)
    network = trace(fold_batch_norms(model.eval()))
    return network, quantization_points(network)


def consumers(network, points):
    return {point.key: [network.names[node] for node in point.consumers] for point in points}


def test_places_in_a_resnet():
    network, points = points_of("ResNet50FPN")
    found = consumers(network, points)
    trunk = "backbones.ResNet50FPN.features"
    pyramid = "backbones.ResNet50FPN"
    assert found[f"{trunk}.conv1:in"] == [f"{trunk}.conv1"]
    assert found[f"{trunk}.maxpool:in"] == [f"{trunk}.maxpool"]
    # The first block's input feeds the first convolution and the one of the skip connection.
    first = f"{trunk}.layer1.0"
    assert found[f"{first}.conv1:in"] == [f"{first}.conv1", f"{first}.downsample.0"]
    assert found[f"{first}.add:skip"] == [f"{first}.add"]
    # An identity skip shares its tensor, and its scale, with the convolution.
    assert found[f"{trunk}.layer1.1.conv1:in"] == [
        f"{trunk}.layer1.1.conv1", f"{trunk}.layer1.1.add"
    ]  # fmt: skip
    assert f"{trunk}.layer1.1.add:skip" not in found
    # P4's sum is upsampled for P3 and smoothed.
    assert found[f"{pyramid}.P3.upsample:up"] == [f"{pyramid}.P3.upsample", f"{pyramid}.smooth4"]
    # One scale a level; both heads see the same tensor.
    for level in ("P3", "P4", "P5", "P6", "P7"):
        at = f"ResNet50FPN/{level}"
        expected = [f"cls_head.0/{at}", f"box_head.0/{at}"]
        if level == "P6":  # P7 comes from ReLU(P6), which is another tensor
            assert f"{pyramid}.pyramid7:in" in found
        assert found[f"cls_head.0/{at}:in"] == expected
        assert found[f"box_head.8/{at}:in"] == [f"box_head.8/{at}"]
    # 53 convolutions of the trunk + 8 of the pyramid + 2 x 5 x 5 of the heads, all quantised.
    convs = [name for names in found.values() for name in names
             if "add" not in name and "upsample" not in name and "maxpool" not in name]  # fmt: skip
    assert len(convs) == len(set(convs)) == 53 + 8 + 50


def test_what_is_around_depthwise_convolutions_stays_out_and_grouped_ones_do_not():
    """Of a MobileNetV2 the whole trunk: its blocks are pointwise, depthwise, pointwise."""
    network, points = points_of("MobileNetV2FPN")
    taken = {name for names in consumers(network, points).values() for name in names}
    assert not any(".features.features." in name for name in taken)
    assert {f"backbones.MobileNetV2FPN.lateral{level}" for level in (3, 4, 5)} <= taken
    network, points = points_of("ResNeXt50_32x4dFPN")
    taken = {name for names in consumers(network, points).values() for name in names}
    assert "backbones.ResNeXt50_32x4dFPN.features.layer1.0.conv2" in taken


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return load_checkpoint(checkpoint)


def quantised(loaded, amax=None, exclude=(), opset=17):
    network = trace_checkpoint(loaded)
    points = quantization_points(network)
    amax = amax or {point.key: 4.0 + i / 64 for i, point in enumerate(points)}
    about = describe_export(loaded, SIZE, Postprocessing())
    return amax, to_onnx(network, about, opset, amax, exclude)


def activations(model):
    """Scale of each activation's Quantize node, by name."""
    tables = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    return {
        node.name.removesuffix("/quantized"): tables[node.input[1]]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and tables[node.input[1]].ndim == 0
    }


def test_every_pair_has_one_entry_and_every_entry_one_pair(loaded):
    amax, model = quantised(loaded)
    scales = activations(model)
    assert scales.keys() == amax.keys()
    for key, value in amax.items():
        assert scales[key] == np.float32(value / 127)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear")
    inputs = [name for node in model.graph.node for name in node.input]
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            assert node.output[0] in inputs, f"{node.name} is used by nothing"


def test_weights_have_a_scale_a_channel_and_are_shared(loaded):
    _, model = quantised(loaded)
    tables = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    weight = tables["cls_head.0.weight"]
    scale = tables["cls_head.0.weight/scale"]
    np.testing.assert_array_equal(
        scale, (np.abs(weight).max(axis=(1, 2, 3)).astype(np.float64) / 127).astype(np.float32)
    )
    names = [node.name for node in model.graph.node]
    assert names.count("cls_head.0.weight/quantized") == 1
    users = [n for n in model.graph.node if "cls_head.0.weight/dequantized" in n.input]
    assert len(users) == 5


def test_a_tensor_that_is_always_zero_has_a_scale():
    assert to_scale(np.float64(0)) == 1 / 127
    np.testing.assert_array_equal(to_scale(np.array([0.0, 254.0])), [1 / 127, 2])


def test_excluded_operations_take_the_tensor_itself(loaded):
    _, whole = quantised(loaded)
    _, model = quantised(loaded, exclude=("box_head.8*", "*.layer1.0.conv2"))
    gone = activations(whole).keys() - activations(model).keys()
    levels = [f"box_head.8/ResNet18FPN/P{n}:in" for n in range(3, 8)]
    assert gone == {*levels, "backbones.ResNet18FPN.features.layer1.0.conv2:in"}
    conv = next(n for n in model.graph.node if n.name == "box_head.8/ResNet18FPN/P3")
    assert conv.input[1] == "box_head.8.weight"
    with pytest.raises(UsageError, match=r"nothing\.\* matches nothing"):
        quantised(loaded, exclude=("nothing.*",))


@pytest.mark.parametrize("opset", [13, 17])
def test_a_quantised_model_runs_and_is_near(loaded, opset):
    batch = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    network = trace_checkpoint(loaded)
    values = {}

    class Watch(torch.fx.Interpreter):
        def run_node(self, n):
            values[n] = super().run_node(n)
            return values[n]

    with torch.inference_mode():
        logits, _ = Watch(network.module).run(batch)
    points = quantization_points(network)
    amax = {point.key: float(values[point.source].abs().max()) for point in points}
    _, model = quantised(loaded, amax, opset=opset)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = session.run(None, {"input_1": batch.numpy()})
    for level, logit in zip(outputs, logits, strict=False):
        error = np.abs(level - logit.sigmoid().numpy())
        assert 0 < error.mean() < 0.05
