"""Traces the network into a flat list of named operations, for ONNX and for calibration.

torch.fx runs the model's own `forward` symbolically, so the wiring is defined once, in `model/`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.model.folding import fold_batch_norms
from odtk_ray.model.retinanet import RetinaNet

PYRAMID_LEVELS = ("P3", "P4", "P5", "P6", "P7")

# The operations between a pyramid's modules, in the order in which `FPN.forward` runs them.
_FPN_LEVELS = {"upsample": ("P4", "P3"), "add": ("P4", "P3"), "relu": ("P7",)}
_FUNCTIONS = {"add": "add", "iadd": "add", "interpolate": "upsample", "relu": "relu"}


@dataclass(frozen=True)
class NetworkGraph:
    """A traced network.

    Attributes:
        module: runs the network, operation by operation.
        names: what each operation is called. A module's operation has the module's path, such as
            `backbones.ResNet50FPN.features.layer1.0.conv1`, followed by `/ResNet50FPN/P3` in the
            heads, that all levels share, and by `.1` where a block's ReLU runs again; operations
            between modules are `backbones.ResNet50FPN.features.layer1.0.add` and
            `backbones.ResNet50FPN.P4.upsample`.
        logits: for each level the operation that gives its class logits.
        deltas: for each level the operation that gives its box deltas.
    """

    module: fx.GraphModule
    names: dict[fx.Node, str]
    logits: list[fx.Node]
    deltas: list[fx.Node]

    @property
    def operations(self) -> list[fx.Node]:
        """Everything that computes, in order."""
        return [node for node in self.module.graph.nodes if node in self.names]

    def layer(self, node: fx.Node) -> nn.Module | None:
        """Return the module that an operation runs; None for an operation between modules."""
        if node.op != "call_module":
            return None
        return self.module.get_submodule(str(node.target))


def trace_checkpoint(checkpoint: Checkpoint) -> NetworkGraph:
    """Trace a checkpoint's network as it is calibrated and exported, BatchNorm folded."""
    return trace(fold_batch_norms(checkpoint.build()))


def trace(model: RetinaNet) -> NetworkGraph:
    """Trace a network; `nn.Identity`, as folding leaves it, does not appear in the result.

    Args:
        model: in eval mode; shared, not copied.
    """
    graph = fx.Tracer().trace(model)
    module = fx.GraphModule(model, graph)
    for node in list(graph.nodes):
        if node.op == "call_module" and isinstance(model.get_submodule(node.target), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    module.recompile()
    logits, deltas = next(node for node in graph.nodes if node.op == "output").args[0]
    return NetworkGraph(module, _names(graph, list(model.backbones)), list(logits), list(deltas))


def _names(graph: fx.Graph, backbones: list[str]) -> dict[fx.Node, str]:
    labels = [f"{backbone}/{level}" for backbone in backbones for level in PYRAMID_LEVELS]
    calls: Counter[str] = Counter()
    names = {}
    for node in graph.nodes:
        if node.op in ("call_module", "call_function"):
            base = _base_name(node)
            nth = calls[base]
            calls[base] += 1
            names[node] = _full_name(base, nth, labels)
    return names


def _base_name(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    kind: Any = getattr(node.target, "__name__", "")
    parents = [path for path, _ in node.meta["nn_module_stack"].values()]
    return f"{parents[-1]}.{_FUNCTIONS[kind]}"


def _full_name(base: str, nth: int, labels: list[str]) -> str:
    parent, _, last = base.rpartition(".")
    if parent in ("cls_head", "box_head"):
        return f"{base}/{labels[nth]}"
    if parent.count(".") == 1 and last in _FPN_LEVELS:  # backbones.<name>: the pyramid itself
        return f"{parent}.{_FPN_LEVELS[last][nth]}.{last}"
    return f"{base}.{nth}" if nth else base
