"""FP16 in the types of the graph, for strongly typed TensorRT: an FP32 graph rewritten, no torch.

Input and outputs stay float32. Everything from the first convolution to the last runs in float16;
the sigmoid runs in float32, so that scores keep their order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from odtk_ray.artifacts.exported_model import INPUT_NAME
from odtk_ray.errors import UsageError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

HALF_OPSET = 19  # the first whose QuantizeLinear takes float16
_IR_VERSION = 9
_HEAD = re.compile("(score|box)_[0-9]+")  # outputs of the network


def to_half(model: ModelProto) -> ModelProto:
    """Copy a model of `odtk-ray export`, so that its network computes in float16.

    Args:
        model: FP32, or FP32 with Quantize and Dequantize nodes, whose scales become float16 too;
            with raw outputs, or the plugin's node behind them, which takes float32.

    Raises:
        UsageError: a weight is too large for float16.
    """
    from onnx import ModelProto, TensorProto

    half = ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    scales = {node.input[2] for node in graph.node if node.op_type == "Resize"}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales:
            tensor.CopyFrom(_halved(tensor))
    nodes = [_cast(INPUT_NAME, f"{INPUT_NAME}/half", TensorProto.FLOAT16)]
    for node in graph.node:
        node.input[:] = [f"{n}/half" if n == INPUT_NAME else n for n in node.input]
        nodes += _typed(node)
    _replace_nodes(graph, nodes)
    for opset in half.opset_import:
        if not opset.domain:
            opset.version = HALF_OPSET
    half.ir_version = _IR_VERSION
    return half


def _typed(node: NodeProto) -> list[NodeProto]:
    """Return a node, with the casts that the network's float32 outputs need."""
    from onnx import TensorProto

    name = node.output[0]
    if not _HEAD.fullmatch(name):
        return [node]
    if node.op_type == "Sigmoid":
        wide = _cast(node.input[0], f"{name}/logits", TensorProto.FLOAT)
        node.input[0] = wide.output[0]
        return [wide, node]
    node.output[0] = f"{name}/half"
    return [node, _cast(node.output[0], name, TensorProto.FLOAT)]


def _cast(source: str, name: str, kind: int) -> NodeProto:
    from onnx import helper

    return helper.make_node("Cast", [source], [name], name=f"{name}/cast", to=kind)


def _halved(tensor: TensorProto) -> TensorProto:
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    if np.abs(array).max(initial=0) > np.finfo(np.float16).max:
        raise UsageError(
            f"{tensor.name} does not fit into FP16",
            f"its largest magnitude is {np.abs(array).max():g}",
            "--full-precision builds plans in FP32, and ONNX files are FP32 without --half",
        )
    halved = array.astype(np.float16)
    if tensor.name.endswith("/scale"):  # a scale of 0 would divide by it
        halved = np.maximum(halved, np.finfo(np.float16).smallest_subnormal)
    return numpy_helper.from_array(halved, tensor.name)


def _replace_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
