"""From a checkpoint to an ONNX model: written node by node, so that every name and byte is ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import fx, nn

from odtk_ray import __version__
from odtk_ray.artifacts.exported_model import (
    INPUT_NAME,
    ExportedModel,
    Outputs,
)
from odtk_ray.artifacts.input_size import STRIDES, check_size
from odtk_ray.exports.graph_builder import GraphBuilder
from odtk_ray.exports.int8.quantization import Quantizer, exclude, quantization_points
from odtk_ray.exports.onnx.decoding import add_postprocess
from odtk_ray.exports.onnx.plugin import PLUGIN_DOMAIN, add_plugin
from odtk_ray.exports.traced_network import NetworkGraph
from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.ops.anchors import generate_anchors
from odtk_ray.settings import MEAN, STD, Postprocessing

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

DEFAULT_OPSET = 17

# The oldest file format that may carry an opset: https://onnx.ai/onnx/repo-docs/Versioning.html
_IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8}


def describe_export(
    checkpoint: Checkpoint, size: tuple[int, int], post: Postprocessing, outputs: Outputs = "raw"
) -> ExportedModel:
    """Return the description that the exported model of a checkpoint will carry.

    Raises:
        UsageError: a side is no multiple of 32 pixels.
    """
    check_size("--size", *size)
    strides = STRIDES * len(checkpoint.backbones)
    tables = [
        generate_anchors(
            stride, checkpoint.ratios, checkpoint.scales, checkpoint.anchors, checkpoint.angles
        ).tolist()
        for stride in strides
    ]
    return ExportedModel(
        backbones=checkpoint.backbones,
        classes=checkpoint.classes,
        class_names=checkpoint.class_names,
        category_ids=checkpoint.category_ids,
        ratios=checkpoint.ratios,
        scales=checkpoint.scales,
        angles=checkpoint.angles,
        anchors=checkpoint.anchors,
        strides=strides,
        anchor_boxes=tuple(tuple(map(tuple, table)) for table in tables),
        size=size,
        mean=MEAN,
        std=STD,
        outputs=outputs,
        precision="fp32",
        post=post,
        checkpoint=checkpoint.sha256,
        version=__version__,
    )


def to_onnx(
    network: NetworkGraph,
    about: ExportedModel,
    opset: int = DEFAULT_OPSET,
    amax: Mapping[str, float] | None = None,
    int8_exclude: Sequence[str] = (),
) -> ModelProto:
    """Write a network in FP32, with dynamic batch and fixed size.

    The input `input_1` is float32 [batch, 3, H, W], normalised. Raw outputs are `score_i`, float32
    [batch, A * C, h, w], probabilities, and `box_i`, float32 [batch, A * 4, h, w] (6 for rotated
    boxes). With post-processing they are `scores` float32 [batch, D], `boxes` float32 [batch, D, 4]
    (boxes_net, inclusive corners; of a rotated model [batch, D, 6], where sin and cos follow) and
    `classes` int32 [batch, D], best first, unused slots 0.

    Args:
        network: of `trace_checkpoint`, on any device.
        about: of `describe_export`; written into the file.
        opset: version of ONNX's operators, 13 to 17.
        amax: of a calibration, by key: quantises the network to INT8.
        int8_exclude: patterns of operations that are not quantised.

    Raises:
        UsageError: a pattern matches nothing.
    """
    builder = GraphBuilder()
    points = [] if amax is None else quantization_points(network)
    points = exclude(network, points, int8_exclude)
    add_network(builder, network, Quantizer(points, amax or {}), _divisors(about))
    if about.ends_in_detections:
        (add_plugin if about.outputs == "plugin" else add_postprocess)(builder, about)
    outputs = _outputs(about)
    return _finish(builder, about, outputs, opset)


def add_network(
    builder: GraphBuilder,
    network: NetworkGraph,
    quantizer: Quantizer,
    divisors: Sequence[float] | None = None,
) -> None:
    """Add the nodes from `input_1` to `score_1..n` and `box_1..n`.

    Args:
        builder: receives them.
        network: whose they are.
        quantizer: adds what INT8 needs.
        divisors: of the input's channels; None divides nothing.
    """
    tensors: dict[fx.Node, str] = {}
    quantised: dict[fx.Node, str | None] = {}
    boxes = {node: f"box_{i}" for i, node in enumerate(network.deltas, start=1)}
    for node in network.module.graph.nodes:
        if node.op == "placeholder":
            tensors[node] = INPUT_NAME if divisors is None else _add_division(builder, divisors)
        elif node in network.names:
            inputs = [
                (quantised if quantizer.takes(source, node) else tensors)[source] or ""
                for source in node.all_input_nodes
            ]
            tensors[node] = _add_operation(
                builder, network, node, inputs, boxes.get(node), quantizer
            )
        if node in tensors:
            quantised[node] = quantizer.add_activation(builder, node, tensors[node])
    for i, node in enumerate(network.logits, start=1):
        builder.add("Sigmoid", f"score_{i}", tensors[node])


def _divisors(about: ExportedModel) -> list[float] | None:
    """Return what the graph has to divide by, where the input is not divided by all of STD."""
    if about.std == STD:
        return None
    return [whole / done for whole, done in zip(STD, about.std, strict=True)]


def _add_division(builder: GraphBuilder, divisors: Sequence[float]) -> str:
    table = np.array(divisors, np.float32).reshape(1, 3, 1, 1)
    return builder.add("Div", "normalised", INPUT_NAME, builder.constant("std", table))


def _add_operation(
    builder: GraphBuilder,
    network: NetworkGraph,
    node: fx.Node,
    inputs: list[str],
    out: str | None,
    quantizer: Quantizer,
) -> str:
    name, layer = network.names[node], network.layer(node)
    if isinstance(layer, nn.Conv2d):
        path = f"{node.target}.weight"
        array = layer.weight.detach().cpu().numpy()
        builder.constant(path, array)
        weight = quantizer.add_weight(builder, node, path, array)
        return _add_conv(builder, layer, f"{node.target}.bias", name, (inputs[0], weight), out)
    if isinstance(layer, nn.ReLU6):
        return builder.add("Clip", name, inputs[0], builder.number(0), builder.number(6))
    if isinstance(layer, nn.MaxPool2d):
        window: dict[str, Any] = {
            "kernel_shape": _pair(layer.kernel_size),
            "strides": _pair(layer.stride),
            "pads": _pair(layer.padding) * 2,
        }
        return builder.add("MaxPool", name, inputs[0], **window)
    if isinstance(layer, nn.ReLU) or name.endswith(".relu"):
        return builder.add("Relu", name, inputs[0])
    if layer is None and name.endswith(".add"):
        return builder.add("Add", name, *inputs)
    if layer is None and name.endswith(".upsample"):
        scales = builder.constant("scales/2x2", np.array([1, 1, 2, 2], np.float32))
        # Pixel i comes from floor(i / 2): what `interpolate(scale_factor=2, mode="nearest")` does.
        rounding: dict[str, Any] = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        return builder.add("Resize", name, inputs[0], "", scales, **rounding)
    raise NotImplementedError(f"no ONNX operator is known for {name} ({type(layer).__name__})")


def _add_conv(
    builder: GraphBuilder,
    conv: nn.Conv2d,
    bias: str,
    name: str,
    inputs: tuple[str, str],
    out: str | None,
) -> str:
    if conv.bias is None or isinstance(conv.padding, str):
        raise NotImplementedError(f"{name}: convolutions have a bias and explicit padding here")
    builder.add(
        "Conv",
        name,
        *inputs,
        builder.constant(bias, conv.bias.detach().cpu().numpy()),
        kernel_shape=_pair(conv.kernel_size),
        strides=_pair(conv.stride),
        pads=_pair(conv.padding) * 2,
        dilations=_pair(conv.dilation),
        group=conv.groups,
    )
    if out is not None:
        builder.nodes[-1].output[0] = out
    return out or name


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _outputs(about: ExportedModel) -> list[ValueInfoProto]:
    from onnx import TensorProto, helper

    def tensor(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["batch", *shape])

    if about.ends_in_detections:
        slots = about.post.detections
        scores, boxes, classes = about.output_names
        return [
            tensor(scores, slots),
            tensor(boxes, slots, about.box_values),
            tensor(classes, slots, kind=TensorProto.INT32),
        ]
    rows = zip(about.output_names, about.raw_shapes, strict=True)
    return [tensor(name, *shape) for name, shape in rows]


def _finish(
    builder: GraphBuilder, about: ExportedModel, outputs: list[ValueInfoProto], opset: int
) -> ModelProto:
    from onnx import TensorProto, checker, helper

    shape: list[str | int | None] = ["batch", 3, *about.size]
    source = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, shape)
    model = helper.make_model(
        builder.graph("odtk-ray", [source], outputs),
        opset_imports=[
            helper.make_opsetid("", opset),
            *[helper.make_opsetid(PLUGIN_DOMAIN, 1)] * (about.outputs == "plugin"),
        ],
        ir_version=_IR_VERSIONS[opset],
        producer_name="odtk-ray",
        producer_version=__version__,
    )
    helper.set_model_props(model, about.to_metadata())
    checker.check_model(model)
    return model
