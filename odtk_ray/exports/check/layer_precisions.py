"""Reads in which precision layers compute, from TensorRT's inspector or from the graph.

The inspector's JSON differs between versions: `Format/Datatype` is prose in TensorRT 8 ("Thirty-two
wide channel vectorized row major Int8 format") and a word in 10 ("Half"), 11 has `Format` and
`DataType`, and a plan built without details has names only.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odtk_ray.plural import counted

if TYPE_CHECKING:
    from onnx import ModelProto

# Names of types as they are met, in lower case; the longer ones first.
_TYPES = {
    "bfloat16": "BF16", "bf16": "BF16", "float16": "FP16", "fp16": "FP16", "half": "FP16",
    "uint8": "UINT8", "int8": "INT8", "float8": "FP8", "fp8": "FP8", "int32": "INT32",
    "int64": "INT64", "bool": "BOOL", "float32": "FP32", "fp32": "FP32", "float": "FP32",
}  # fmt: skip
_TYPE = re.compile("|".join(_TYPES))

# Layers that compute nothing.
_MOVING = re.compile("reformat|noop|shuffle|constant|identity|cast|signal|wait", re.IGNORECASE)


@dataclass(frozen=True)
class LayerPrecisions:
    """The number of layers that compute in each precision.

    Attributes:
        counts: layers of a plan by precision, such as `INT8`; empty where only the graph is known.
        convolutions: convolutions by precision.
        reformats: layers that only change a type or a memory order.
    """

    counts: dict[str, int]
    convolutions: dict[str, int]
    reformats: int = 0

    def line(self) -> str:
        """Format the counts for people."""
        parts = []
        if self.counts:
            parts.append(f"layers by precision: {_joined(self.counts)}")
        if self.convolutions:
            total = sum(self.convolutions.values())
            parts.append(f"{counted(total, 'convolution')}: {_joined(self.convolutions)}")
        if self.reformats:
            parts.append(counted(self.reformats, "reformat"))
        return "; ".join(parts)


def _joined(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name}" for name, count in ordered)


def read_layers(information: str) -> LayerPrecisions | None:
    """Read the output of TensorRT's inspector.

    Args:
        information: of `get_engine_information`, JSON.

    Returns:
        None where it says nothing about types.
    """
    try:
        # TensorRT 8 puts control characters between the names of fused ONNX nodes.
        layers = json.loads(information, strict=False)["Layers"]
    except (ValueError, KeyError, TypeError):
        return None
    counts: Counter[str] = Counter()
    convolutions: Counter[str] = Counter()
    reformats = 0
    for layer in layers if isinstance(layers, list) else []:
        if not isinstance(layer, dict):  # a name: the plan was built without details
            continue
        kind = f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}"
        if _MOVING.search(kind):
            reformats += "reformat" in kind.lower()
            continue
        precision = _precision(layer)
        if precision is not None:
            counts[precision] += 1
            convolutions[precision] += "conv" in kind.lower()
    if not counts:
        return None
    return LayerPrecisions(dict(counts), dict(+convolutions), reformats)


def _precision(layer: dict[str, Any]) -> str | None:
    """Return the type of a layer's input; if it has none, of its weights or output."""
    for name in ("Inputs", "Weights", "Outputs"):
        given = layer.get(name)
        first = given[0] if isinstance(given, list) and given else given
        if isinstance(first, dict):
            text = " ".join(
                str(value)
                for key, value in first.items()
                if "type" in key.lower() or "format" in key.lower()
            )
            if found := _TYPE.search(text.lower()):
                return _TYPES[found.group()]
    return None


def graph_layers(model: ModelProto, others: str) -> LayerPrecisions:
    """Count a graph's convolutions with dequantised weights, and the others.

    Args:
        model: an ONNX model of `odtk-ray export`.
        others: the precision of what is not quantised.
    """
    kinds = {output: node.op_type for node in model.graph.node for output in node.output}
    weights = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    quantised = [kinds.get(name) == "DequantizeLinear" for name in weights]
    return LayerPrecisions({}, dict(Counter("INT8" if one else others for one in quantised)))
