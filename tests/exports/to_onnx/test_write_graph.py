"""The ONNX files against PyTorch: every backbone, opset and kind of size; names and bytes."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from effort import long_case

from odtk_ray.exports.onnx.write_graph import describe_export, to_onnx
from odtk_ray.exports.traced_network import trace, trace_checkpoint
from odtk_ray.model.backbones import BACKBONES
from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint
from odtk_ray.model.folding import fold_batch_norms
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES
from odtk_ray.settings import STD, Postprocessing

POST = Postprocessing()
# One of each kind of blocks; the others take longer.
_QUICK = ("ResNet18FPN", "ResNet50FPN", "MobileNetV2FPN")


def saved(folder, backbones, **options):
    """A checkpoint with random weights and running statistics that are not 0 and 1."""
    torch.manual_seed(5)
    angles = options.pop("angles", None)
    model = RetinaNet(backbones, 2, channels=8, **options)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith(("bn2.weight", "bn3.weight")):
            tensor.fill_(0.2)  # deep trunks would grow to values that hide any difference
    path = folder / "model.pth"
    save_checkpoint(path, model, ratios=DEFAULT_RATIOS, scales=DEFAULT_SCALES, angles=angles,
                    drop_unused=True)  # fmt: skip
    return load_checkpoint(path)


def exported(checkpoint, size, opset=17, **options):
    about = describe_export(checkpoint, size, POST, **options)
    return about, to_onnx(trace_checkpoint(checkpoint), about, opset)


def runner(model):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return lambda batch: session.run(None, {"input_1": batch.numpy()})


def expected(checkpoint, batch):
    with torch.inference_mode():
        logits, deltas = checkpoint.build()(batch)
    return [level.sigmoid().numpy() for level in logits] + [level.numpy() for level in deltas]


@pytest.mark.parametrize(
    ("backbones", "size"),
    [
        *(
            pytest.param([name], (32, 64), marks=[pytest.mark.long] * (name not in _QUICK))
            for name in BACKBONES
        ),
        (["ResNet18FPN"], (32, 32)),
        (["ResNet18FPN"], (160, 96)),  # no multiples of 128
        (["MobileNetV2FPN", "ResNet18FPN"], (64, 32)),
    ],
)
def test_outputs_are_pytorchs(tmp_path, backbones, size):
    checkpoint = saved(tmp_path, backbones)
    about, model = exported(checkpoint, size)
    run = runner(model)
    for images in (1, 3):
        batch = torch.randn(images, 3, *size)
        found, wanted = run(batch), expected(checkpoint, batch)
        assert len(found) == 10 * len(backbones)
        for one, two in zip(found, wanted, strict=True):
            assert one.shape == two.shape
            assert np.abs(one - two).max() <= 2e-5 * max(1, np.abs(two).max())
    shapes = [output.shape for output in found[: 5 * len(backbones)]]
    assert shapes == [(3, 18, level.height, level.width) for level in about.levels]


@pytest.mark.parametrize("opset", [13, *(long_case(i) for i in (14, 15, 16))])
@pytest.mark.parametrize("outputs", ["raw", "detections"])
@pytest.mark.parametrize("kind", ["checkpoint", "rotated_checkpoint"])
def test_every_opset_gives_the_same(request, kind, opset, outputs):
    loaded = load_checkpoint(request.getfixturevalue(kind))
    _, newest = exported(loaded, (64, 96), outputs=outputs)
    _, older = exported(loaded, (64, 96), opset, outputs=outputs)
    assert older.opset_import[0].version == opset
    batch = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    outputs = runner(newest)(batch)
    assert np.any(outputs[0] > 0.05)
    for one, two in zip(outputs, runner(older)(batch), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_standard_deviation_can_be_in_the_graph(tmp_path):
    checkpoint = saved(tmp_path, ["ResNet18FPN"])
    about = describe_export(checkpoint, (32, 64), POST)
    divides = dataclasses.replace(about, std=(1.0, 1.0, 1.0))
    model = to_onnx(trace_checkpoint(checkpoint), divides)
    batch = torch.randn(2, 3, 32, 64)
    given = batch * torch.tensor(STD)[:, None, None]
    for one, two in zip(runner(model)(given), expected(checkpoint, batch), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5 * max(1, np.abs(two).max()))


def test_rotated_models_have_raw_outputs(tmp_path):
    checkpoint = saved(tmp_path, ["ResNet18FPN"], anchors=27, box_values=6, angles=[-0.5, 0, 0.5])
    about, model = exported(checkpoint, (32, 64))
    batch = torch.randn(1, 3, 32, 64)
    for one, two in zip(runner(model)(batch), expected(checkpoint, batch), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5 * max(1, np.abs(two).max()))
    # Stride 8, ratio 1, scale 4: side 32, from (8 - 32) / 2 = -12 to (8 + 32) / 2 - 1 = 19.
    assert about.anchor_boxes[0][0] == about.anchor_boxes[0][9] == (-12, -12, 19, 19)
    assert len(about.anchor_boxes[0]) == 27


def test_names_carry_backbone_module_and_level(checkpoint):
    about, model = exported(load_checkpoint(checkpoint), (64, 96))
    graph = model.graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    for name in [
        "backbones.ResNet18FPN.features.conv1",
        "backbones.ResNet18FPN.features.layer1.0.relu.1",
        "backbones.ResNet18FPN.features.layer2.0.downsample.0",
        "backbones.ResNet18FPN.features.layer4.1.add",
        "backbones.ResNet18FPN.P4.upsample",
        "backbones.ResNet18FPN.P3.add",
        "backbones.ResNet18FPN.P7.relu",
        "backbones.ResNet18FPN.smooth3",
        "cls_head.0/ResNet18FPN/P3",
        "box_head.8/ResNet18FPN/P7",
    ]:
        assert name in names
    assert [graph.input[0].name] == ["input_1"]
    assert tuple(output.name for output in graph.output) == about.output_names
    dims = graph.output[0].type.tensor_type.shape.dim
    assert [dims[0].dim_param, *(d.dim_value for d in dims[1:])] == ["batch", 27, 8, 12]
    weights = [tensor.name for tensor in graph.initializer]
    assert weights.count("cls_head.0.weight") == 1  # shared by the levels
    assert {node.op_type for node in graph.node} == {
        "Conv", "Relu", "MaxPool", "Add", "Resize", "Sigmoid"
    }  # fmt: skip


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint):
    loaded = load_checkpoint(checkpoint)
    one, two = (
        exported(loaded, (64, 64), outputs="detections")[1].SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert one == two


@pytest.mark.parametrize("kind", ["checkpoint", "rotated_checkpoint"])
def test_all_shapes_can_be_inferred(request, kind):
    loaded = load_checkpoint(request.getfixturevalue(kind))
    _, model = exported(loaded, (64, 64), outputs="detections")
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def test_the_traced_network_computes_what_the_model_does(checkpoint):
    folded = fold_batch_norms(load_checkpoint(checkpoint).build())
    network = trace(folded)
    batch = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        one, two = network.module(batch), folded(batch)
    for a, b in zip([*one[0], *one[1]], [*two[0], *two[1]], strict=True):
        assert torch.equal(a, b)
