"""Chooses which tensors are quantised, and with which scale.

The placement is NVIDIA's for TensorRT: the inputs of convolutions and of the stem's pooling, the
skip input of residual additions (never the other one, so that convolution, addition and ReLU fuse
into one kernel), and what the pyramid upsamples; one scale a tensor, symmetric, and one a channel
for weights. Depthwise convolutions stay as they are, and so do the pointwise ones around them: with
both, half of a MobileNetV2's tensors would be rounded, and then converted back for the next layer.
Biases, other additions and the heads' outputs stay too.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from odtk_ray.errors import UsageError
from odtk_ray.exports.graph_builder import GraphBuilder
from odtk_ray.exports.traced_network import NetworkGraph

LARGEST_CODE = 127  # the largest code; -128 is not used, so that 0 is in the middle


@dataclass(frozen=True)
class Point:
    """A tensor that gets a Quantize and a Dequantize node.

    Attributes:
        key: names it in calibration tables: the first consumer and its port, such as
            `cls_head.0/ResNet50FPN/P3:in`, `...layer1.0.add:skip` or `...P4.upsample:up`.
        source: the operation that gives the tensor.
        consumers: the operations that take the quantised tensor; others take the tensor itself.
    """

    key: str
    source: fx.Node
    consumers: tuple[fx.Node, ...]


def quantization_points(network: NetworkGraph) -> list[Point]:
    """Find every tensor to quantise, in the order of their first consumers."""
    depths, floating = _depths(network), _floating(network)
    keys: dict[fx.Node, str] = {}
    consumers: dict[fx.Node, list[fx.Node]] = {}
    for node in network.operations:
        found = _quantised_input(network, node, depths, floating)
        if found is not None:
            source, port = found
            keys.setdefault(source, f"{network.names[node]}:{port}")
            consumers.setdefault(source, []).append(node)
    return [Point(key, source, tuple(consumers[source])) for source, key in keys.items()]


def exclude(network: NetworkGraph, points: list[Point], patterns: Sequence[str]) -> list[Point]:
    """Remove operations whose names match a pattern from INT8.

    Args:
        network: for the names.
        points: of `quantization_points`.
        patterns: shell patterns such as `box_head.*` or `*/P3`; each must match something.

    Raises:
        UsageError: a pattern matches no quantised operation.
    """
    names = {network.names[node] for point in points for node in point.consumers}
    out: set[str] = set()
    for pattern in patterns:
        matched = set(fnmatch.filter(names, pattern))
        if not matched:
            example = sorted(names)[len(names) // 2]
            raise UsageError(f"--int8-exclude {pattern} matches nothing", hint=f"as in: {example}")
        out |= matched
    kept = [
        replace(p, consumers=tuple(n for n in p.consumers if network.names[n] not in out))
        for p in points
    ]
    return [point for point in kept if point.consumers]


class Quantizer:
    """Adds Quantize and Dequantize nodes while a network is written.

    Args:
        points: what to quantise.
        amax: the largest magnitude that each tensor's codes represent, by key.
    """

    def __init__(self, points: Sequence[Point], amax: Mapping[str, float]) -> None:
        self._points = {point.source: point for point in points}
        self._taken = {node for point in points for node in point.consumers}
        self._amax = amax

    def add_activation(self, builder: GraphBuilder, source: fx.Node, tensor: str) -> str | None:
        """Quantise a tensor; return the quantised form, or None if it stays as it is."""
        point = self._points.get(source)
        if point is None:
            return None
        scale = np.array(to_scale(np.float64(self._amax[point.key])), np.float32)
        return _add_pair(builder, point.key, tensor, scale)

    def takes(self, source: fx.Node, consumer: fx.Node) -> bool:
        """Return whether an operation takes the quantised form of this input."""
        point = self._points.get(source)
        return point is not None and consumer in point.consumers

    def add_weight(
        self, builder: GraphBuilder, node: fx.Node, name: str, weight: NDArray[np.float32]
    ) -> str:
        """Quantise a convolution's weight [O, I, h, w] by output channel, if its input is."""
        if node not in self._taken or f"{name}/dequantized" in builder.outputs:
            return f"{name}/dequantized" if node in self._taken else name
        scale = to_scale(np.abs(weight).max(axis=(1, 2, 3)).astype(np.float64))
        return _add_pair(builder, name, name, scale.astype(np.float32), axis=0)


def to_scale(amax: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Compute amax / 127; tensors that are always 0 get 1 / 127: a scale must be positive."""
    return np.where(amax > 0, amax, 1.0) / LARGEST_CODE


def _add_pair(
    builder: GraphBuilder, name: str, tensor: str, scale: NDArray[np.float32], **axis: int
) -> str:
    scales = builder.constant(f"{name}/scale", scale)
    zero = builder.constant(f"{name}/zero", np.zeros(scale.shape, np.int8))
    codes = builder.add("QuantizeLinear", f"{name}/quantized", tensor, scales, zero, **axis)
    return builder.add("DequantizeLinear", f"{name}/dequantized", codes, scales, zero, **axis)


def _quantised_input(
    network: NetworkGraph,
    node: fx.Node,
    depths: Mapping[fx.Node, int],
    floating: Set[fx.Node],
) -> tuple[fx.Node, str] | None:
    """Return the input of an operation that is quantised, and its port."""
    layer, name = network.layer(node), network.names[node]
    inputs = node.all_input_nodes
    if isinstance(layer, nn.Conv2d):
        return None if node in floating else (inputs[0], "in")
    if isinstance(layer, nn.MaxPool2d):
        return inputs[0], "in"
    if name.endswith(".upsample"):
        return inputs[0], "up"
    lifted = any(network.names.get(source, "").endswith(".upsample") for source in inputs)
    # Where an addition's convolution is floating there is nothing to fuse.
    if name.endswith(".add") and not lifted and floating.isdisjoint(inputs):
        return min(inputs, key=lambda source: depths[source]), "skip"
    return None


def _floating(network: NetworkGraph) -> set[fx.Node]:
    """Find depthwise convolutions and the operations before and after them, without activations."""
    found: set[fx.Node] = set()
    for node in network.operations:
        layer = network.layer(node)
        if isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels:
            found.add(node)
            for source in node.all_input_nodes:
                found.update(
                    source.all_input_nodes if _is_activation(network, source) else [source]
                )
            for user in node.users:
                found.update(user.users if _is_activation(network, user) else [user])
    return found


def _is_activation(network: NetworkGraph, node: fx.Node) -> bool:
    return isinstance(network.layer(node), nn.ReLU | nn.ReLU6)


def _depths(network: NetworkGraph) -> dict[fx.Node, int]:
    """Count operations on the longest path from the input: a skip connection is the shorter one."""
    depths: dict[fx.Node, int] = {}
    for node in network.module.graph.nodes:
        depths[node] = 1 + max((depths[source] for source in node.all_input_nodes), default=0)
    return depths
