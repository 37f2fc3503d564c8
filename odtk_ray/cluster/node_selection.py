"""Which nodes of a cluster take part in a run: where workers start, and where GPUs are tried."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from odtk_ray.artifacts.engine_set import EngineSet
from odtk_ray.cluster.gpu_nodes import (
    NODE_LABEL,
    GpuNode,
    find_nodes,
    gpu_nodes,
    ray_type,
)
from odtk_ray.config import InferConfig
from odtk_ray.engines.loader import no_plan
from odtk_ray.engines.local_gpus import Detect
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter

# Ids of nodes any of which will do; none stands for anywhere.
Place = tuple[str, ...]


@dataclass
class NodeSelection:
    """Which nodes of the cluster take part.

    Attributes:
        left_out: ids of nodes on which no worker starts.
        places: of each kind of GPU one place to try what is planned.
    """

    left_out: set[str] = field(default_factory=set)
    places: list[Place] = field(default_factory=lambda: [()])

    def selector(self) -> dict[str, str]:
        """Ray's label selector for a worker: any node but those, also one that joins later."""
        ids = ",".join(sorted(self.left_out))
        return {NODE_LABEL: f"!in({ids})"} if ids else {}

    def room(self) -> int:
        """GPUs of nodes that are alive and take part."""
        nodes = gpu_nodes().items()
        return sum(int(n["Resources"]["GPU"]) for i, n in nodes if i not in self.left_out)


def select_nodes(
    config: InferConfig, engines: EngineSet | None, detect: Detect, report: Reporter
) -> NodeSelection:
    """Decide which nodes a run uses.

    Nodes are asked what they have where it matters: for an engine set, for `--gpu-type`, and where
    Ray knows several types of GPUs.

    Args:
        config: what the user asked for.
        engines: the plans, where the model is an engine set.
        detect: finds a node's GPUs, on the node.
        report: told about GPUs that are left out although nobody asked for that.

    Raises:
        UsageError: no node has a GPU of a type that was asked for, or none can take part.
    """
    here = gpu_nodes()
    mixed = len({ray_type(node) for node in here.values()}) > 1
    if engines is None and not config.gpu_types and not mixed:
        return NodeSelection()
    nodes = find_nodes(config.gpu_types, config.wait_for_nodes, detect, report)
    alike: dict[tuple[object, ...], list[GpuNode]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    for node in nodes:
        if config.gpu_types and not node.wanted(config.gpu_types):
            continue
        if problem := _problem(node, config, engines):
            reasons[problem] += node.count
        else:
            alike[node.kinds, node.machine.tensorrt].append(node)
    for reason, count in reasons.items():
        report.warn(f"{counted(count, 'GPU')} left out: {reason}")
    if not alike:
        why = "no node has a GPU that it could run on" if here else "no live node has a GPU"
        raise UsageError(f"cannot run {config.model} here", why)
    used = [node.id for some in alike.values() for node in some]
    places: list[Place] = []
    for some in alike.values():
        # Ray does not say which of a node's GPUs it will give: as many tries as it has kinds.
        places += [tuple(node.id for node in some)] * len(some[0].kinds)
    left_out = (set(here) | {node.id for node in nodes}) - set(used)
    return NodeSelection(left_out, places or [()])


def _problem(node: GpuNode, config: InferConfig, engines: EngineSet | None) -> str:
    """Why a node cannot take part, for people; empty if it can."""
    blind = "and Ray does not say which of its GPUs a worker gets"
    names = ", ".join(map(str, node.kinds))
    if config.gpu_types and node.wanted(config.gpu_types) != node.kinds:
        return f"node {node.address} has {names}, {blind}"
    if engines is None:
        return ""
    if not node.kinds:
        return f"node {node.address} has GPUs for Ray, and CUDA finds none there"
    without = [gpu for gpu in node.kinds if engines.find(gpu, node.machine.tensorrt) is None]
    if not without or config.fallback is not None:
        return ""
    if without != list(node.kinds):
        return f"node {node.address} has {names}, {blind}; {without[0]} has no plan"
    return str(no_plan(config.model, without[0], node.machine))
