"""Selects the nodes and GPUs of a cluster that take part in a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from odtk_ray.artifacts.engine_set import EngineSet
from odtk_ray.cluster.await_nodes import find_nodes
from odtk_ray.cluster.failures import UnfitNode
from odtk_ray.cluster.gpu_nodes import (
    ALL,
    NODE_LABEL,
    GpuNode,
    gpu_nodes,
    ray_type,
)
from odtk_ray.cluster.node_watch import ClusterView, is_called, look, node_name
from odtk_ray.config import InferConfig
from odtk_ray.engines.loader import FullGpu, no_plan_error
from odtk_ray.engines.local_gpus import InspectMachine
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter


@dataclass
class NodeSelection:
    """The nodes of the cluster that take part.

    Attributes:
        left_out: ids of nodes on which no worker is started.
        kinds: of the GPUs that take part, where they are told apart.
        unfit: why single GPUs take no part, whatever else their nodes have.
        threads: CPU threads of each worker, where workers have no GPUs.
        excluded: names of nodes that the user excluded; they may join at any time.
    """

    left_out: set[str] = field(default_factory=set)
    kinds: frozenset[str] = frozenset()
    unfit: set[str] = field(default_factory=set)
    threads: int | None = None
    excluded: tuple[str, ...] = ()

    def selector(self) -> dict[str, str]:
        """Return Ray's label selector for a worker: any node, also a new one, that takes part."""
        ids = ",".join(sorted(self.left_out))
        return {NODE_LABEL: f"!in({ids})"} if ids else {}

    def avoid(self, view: ClusterView) -> frozenset[str]:
        """Return the nodes whose workers get no more work: they end soon, or are excluded."""
        excluded = {i for i, node in view.nodes.items() if is_called(node, self.excluded)}
        self.left_out |= excluded
        return view.draining | excluded

    def room(self) -> int:
        """Return the number of workers that live nodes which take part have room for."""
        view = look()
        nodes = [view.nodes[i] for i in view.alive - self.avoid(view) - self.left_out]
        if self.threads:
            return sum(int(node["Resources"].get("CPU", 0)) // self.threads for node in nodes)
        return sum(int(node["Resources"].get("GPU", 0)) for node in nodes) - len(self.unfit)

    def leave_out(self, error: OdtkError, reporter: Reporter, worker: str = "") -> int:
        """Start no more workers where one could not do its part; return the room that is left.

        Args:
            error: the reason: of a node, or of a single GPU.
            reporter: warned of it.
            worker: which worker had the GPU, where the reason does not name it.

        Raises:
            OdtkError: that was the last node.
        """
        node = getattr(error, "node", "")
        if node and not isinstance(error, FullGpu):
            return self._leave_out_node(node, error, reporter)
        gpu = error.what + worker
        if gpu in self.unfit:  # Ray gave it to another worker
            return 0
        self.unfit.add(gpu)
        reporter.warn(f"a GPU is left out: {error.sentence}", error.hint)
        return self.room()

    def _leave_out_node(self, node: str, error: OdtkError, reporter: Reporter) -> int:
        known = node in self.left_out
        self.left_out.add(node)
        room = self.room()
        if room <= 0 and isinstance(error, UnfitNode):
            raise error.alone
        if not known:
            described = look().nodes.get(node)
            names = described is None or described["NodeManagerAddress"] in error.sentence
            what = "a node" if names else node_name(described)
            reporter.warn(f"{what} is left out: {error.sentence}", error.hint)
        return room


def select_nodes(
    config: InferConfig, engine_set: EngineSet | None, inspect: InspectMachine, reporter: Reporter
) -> NodeSelection:
    """Decide which nodes a run uses.

    Nodes are asked for their GPUs only if it matters: for an engine set, for `--gpu-type`, and if
    Ray knows several types of GPUs.

    Args:
        config: what the user asked for.
        engine_set: the plans, where the model is an engine set.
        inspect: finds a node's GPUs, on the node.
        reporter: warned of GPUs that are left out although the user did not ask for that.

    Raises:
        UsageError: no node has a GPU of a type that was asked for, or none can take part.
    """
    selection = NodeSelection(excluded=config.exclude_node)
    selection.avoid(look())
    if config.exclude_node and not selection.left_out:
        names = ", ".join(config.exclude_node)
        reporter.note(f"no node is called {names} now; one that joins is left out")
    here = {i: node for i, node in gpu_nodes().items() if i not in selection.left_out}
    mixed = len({ray_type(node) for node in here.values()}) > 1
    if config.min_workers and not here and not config.gpu_type:
        _await_any_gpu(config, inspect, reporter)
    if engine_set is None and not config.gpu_type and not mixed:
        return selection
    nodes = find_nodes(
        config.gpu_type,
        config.wait_for_nodes,
        inspect,
        reporter,
        config.exclude_node,
        config.min_workers or 1,
    )
    alike: dict[tuple[object, ...], list[GpuNode]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    for node in nodes:
        if config.gpu_type and not node.wanted(config.gpu_type):
            continue
        if problem := _problem(node, config, engine_set):
            reasons[problem] += node.count
        else:
            alike[node.kinds, node.machine.tensorrt].append(node)
    for reason, count in reasons.items():
        reporter.warn(f"{counted(count, 'GPU')} left out: {reason}")
    if not alike:
        why = "no node has a GPU that it could run on" if here else "no live node has a GPU"
        raise UsageError(f"cannot run {config.model} here", why)
    used = {node.id for some in alike.values() for node in some}
    selection.left_out |= (set(here) | {node.id for node in nodes}) - used
    kinds = {str(gpu) for some in alike.values() for node in some for gpu in node.kinds}
    return replace(selection, kinds=frozenset(kinds))


def _await_any_gpu(config: InferConfig, inspect: InspectMachine, reporter: Reporter) -> None:
    """Have an autoscaler start nodes with GPUs; go on with CPUs if it has none.

    Raises:
        UsageError: there are no CPUs either.
    """
    wait, workers = config.wait_for_nodes, config.min_workers or 1
    try:
        find_nodes([ALL], wait, inspect, reporter, config.exclude_node, workers)
    except UsageError:
        if not any(node["Resources"].get("CPU", 0) >= 1 for node in look().nodes.values()):
            raise
        reporter.warn(f"no node with a GPU came within {wait:,.0f} s: this runs on CPUs")


def _problem(node: GpuNode, config: InferConfig, engine_set: EngineSet | None) -> str:
    """Return why a node cannot take part, for people; empty if it can."""
    blind = "and Ray does not say which of its GPUs a worker gets"
    names = ", ".join(map(str, node.kinds))
    if config.gpu_type and node.wanted(config.gpu_type) != node.kinds:
        return f"node {node.address} has {names}, {blind}"
    if engine_set is None:
        return ""
    if not node.kinds:
        return f"node {node.address} has GPUs for Ray, and CUDA finds none there"
    without = [gpu for gpu in node.kinds if engine_set.find(gpu, node.machine.tensorrt) is None]
    if not without or config.fallback is not None:
        return ""
    if without != list(node.kinds):
        return f"node {node.address} has {names}, {blind}; {without[0]} has no plan"
    return str(no_plan_error(config.model, without[0], node.machine))
