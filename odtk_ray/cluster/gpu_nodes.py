"""Finds the GPUs of a cluster: asks Ray, and the nodes themselves.

Ray's types are coarse: every A100 is an `A100`, a Quadro RTX 6000 and an RTX 6000 Ada are both
`RTX-6000`, and a node says the type of its first GPU. A short task on each GPU node finds names and
compute capabilities from the driver, and the version of TensorRT.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from odtk_ray.artifacts.plan_key import slug
from odtk_ray.cluster.failures import first_line, task_error
from odtk_ray.engines.loader import IncompatibleGpu
from odtk_ray.engines.local_gpus import Gpu, InspectMachine, Machine
from odtk_ray.reporter import Reporter

# Labels that Ray gives to nodes.
NODE_LABEL = "ray.io/node-id"
TYPE_LABEL = "ray.io/accelerator-type"
TYPE_RESOURCE = "accelerator_type:"  # Ray's older way, on nodes that were started without labels

# Seconds for a node to list its GPUs: a process starts there and imports TensorRT.
_SURVEY_SECONDS = 120.0

ALL = "all"


@dataclass(frozen=True)
class GpuNode:
    """A node with GPUs.

    Attributes:
        id: Ray's id of the node.
        address: of the node, for messages.
        kind: Ray's type of its GPUs; empty if Ray does not know it.
        count: number of GPUs that Ray assigns there.
        machine: the GPUs and TensorRT that the node itself finds.
    """

    id: str
    address: str
    kind: str
    count: int
    machine: Machine

    @property
    def kinds(self) -> tuple[Gpu, ...]:
        """Its GPUs, each kind once."""
        return tuple(dict.fromkeys(self.machine.gpus))

    def wanted(self, types: Collection[str]) -> tuple[Gpu, ...]:
        """Return its kinds of GPUs that match any of the types."""
        return tuple(gpu for gpu in self.kinds if any(self.is_a(kind, gpu) for kind in types))

    def is_a(self, kind: str, gpu: Gpu) -> bool:
        """Return whether a type that a user named matches a GPU of this node."""
        names = (ALL, self.kind, gpu.name, slug(gpu.name))
        return kind.casefold() in {name.casefold() for name in names if name}


def gpu_nodes() -> dict[str, dict[str, Any]]:
    """Return Ray's description of each live node with GPUs, by node id."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {
        node["NodeID"]: node
        for node in nodes
        if node["Alive"] and int(node["Resources"].get("GPU", 0)) > 0
    }


def node_id() -> str:
    """Return Ray's id of the node that this worker process runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def ray_type(node: dict[str, Any]) -> str:
    """Return Ray's type of a node's GPUs, from its label or its resource; empty without both."""
    if label := node.get("Labels", {}).get(TYPE_LABEL):
        return str(label)
    marks = (name for name in node["Resources"] if name.startswith(TYPE_RESOURCE))
    return next(marks, "").removeprefix(TYPE_RESOURCE)


def survey(
    nodes: dict[str, dict[str, Any]], inspect: InspectMachine, reporter: Reporter
) -> list[GpuNode]:
    """Ask nodes for their GPUs; leave out, with a warning, a node that does not answer.

    Args:
        nodes: as `gpu_nodes` returns them.
        inspect: runs on each node, without reserving anything.
        reporter: warned of nodes that do not answer.
    """
    import ray
    from ray.exceptions import RayError

    if not nodes:
        return []
    task: Any = ray.remote(num_cpus=0, num_gpus=0, max_calls=1)(inspect)
    refs = {i: task.options(label_selector={NODE_LABEL: i}).remote() for i in nodes}
    ray.wait(list(refs.values()), num_returns=len(refs), timeout=_SURVEY_SECONDS)
    found = []
    for i, node in nodes.items():
        address = str(node["NodeManagerAddress"])
        try:
            machine = ray.get(refs[i], timeout=0)
        except RayError as error:  # one that hangs ends with the run, and has reserved nothing
            why = first_line(task_error(error))
            reporter.warn(f"node {address} does not report its GPUs and is left out: {why}")
            continue
        count = int(node["Resources"]["GPU"])
        found.append(GpuNode(i, address, ray_type(node), count, machine))
    return found


def check_gpu_type(types: Collection[str], inspect: InspectMachine) -> None:
    """Check, in a worker, that its GPU has a type that was asked for: nodes may join at any time.

    Raises:
        IncompatibleGpu: it has none of these types.
    """
    if not types:
        return
    node, machine = gpu_nodes()[node_id()], inspect()
    here = GpuNode(node["NodeID"], node["NodeManagerAddress"], ray_type(node), 1, machine)
    if not here.wanted(types):
        found = ", ".join(map(str, machine.gpus)) or "no GPU that CUDA finds"
        raise IncompatibleGpu(
            f"node {here.address} has {found}", f"--gpu-type is {', '.join(types)}"
        )
