"""Finds the GPUs of a cluster: asks Ray, and the nodes themselves.

Ray's types are coarse: every A100 is an `A100`, a Quadro RTX 6000 and an RTX 6000 Ada are both
`RTX-6000`, and a node says the type of its first GPU. A short task on each GPU node finds names and
compute capabilities from the driver, and the version of TensorRT.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odtk_ray.artifacts.engine_set import slug
from odtk_ray.cluster.failures import first_line, task_error
from odtk_ray.cluster.node_watch import is_called
from odtk_ray.engines.loader import IncompatibleGpu
from odtk_ray.engines.local_gpus import Gpu, InspectMachine, Machine
from odtk_ray.errors import UsageError
from odtk_ray.reporter import Reporter

if TYPE_CHECKING:
    from ray.actor import ActorHandle

# Labels that Ray gives to nodes.
NODE_LABEL = "ray.io/node-id"
_TYPE_LABEL = "ray.io/accelerator-type"
_TYPE_RESOURCE = "accelerator_type:"  # Ray's older way, on nodes that were started without labels
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)

# Seconds for a node to list its GPUs: a process starts there and imports TensorRT.
_SURVEY_SECONDS = 120.0
# Seconds between two searches for nodes that are expected to join.
_LOOK_INTERVAL = 1.0

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
    if label := node.get("Labels", {}).get(_TYPE_LABEL):
        return str(label)
    marks = (name for name in node["Resources"] if name.startswith(_TYPE_RESOURCE))
    return next(marks, "").removeprefix(_TYPE_RESOURCE)


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


def find_nodes(
    types: Sequence[str],
    wait: float | None,
    inspect: InspectMachine,
    reporter: Reporter,
    excluded: Collection[str] = (),
    count: int = 1,
) -> list[GpuNode]:
    """Return all GPU nodes, after waiting for at least one of each type.

    Args:
        types: types of which at least one node must exist; may be empty.
        wait: seconds to wait for such nodes, for example until an autoscaler starts them; None
            does not wait.
        inspect: see `survey`.
        reporter: likewise.
        excluded: names of nodes that do not count.
        count: GPUs of each type that an autoscaler is asked for; one node is waited for.

    Raises:
        UsageError: no node has a GPU of some type; the existing types are named.
    """
    known: set[str] = set()
    nodes: list[GpuNode] = []
    deadline = time.monotonic() + (wait or 0.0)
    with _demands(count) as demand:
        while True:
            here = {i: n for i, n in gpu_nodes().items() if not is_called(n, excluded)}
            nodes = [node for node in nodes if node.id in here]
            nodes += survey({i: n for i, n in here.items() if i not in known}, inspect, reporter)
            known |= set(here)
            missing = [t for t in types if not any(node.wanted([t]) for node in nodes)]
            if not missing:
                return nodes
            if time.monotonic() >= deadline:
                raise _absent(missing, nodes, len(here), waited=wait)
            for kind in missing:
                if demand(kind):
                    what = "any GPU" if kind.casefold() == ALL else kind
                    reporter.note(f"waiting for a node with {what} ({wait:,.0f} s at most)")
            time.sleep(_LOOK_INTERVAL)


def _absent(
    missing: Sequence[str], nodes: Sequence[GpuNode], alive: int, waited: float | None
) -> UsageError:
    anything = all(kind.casefold() == ALL for kind in missing)
    named = "" if anything else f" of type {', '.join(missing)}"
    if not nodes:
        there = f"{alive} do not report them" if alive else "none of the live nodes has one"
    else:
        kinds = sorted({f"{node.kind or 'no type'}: {gpu}" for node in nodes for gpu in node.kinds})
        there = f"there are {'; '.join(kinds) or 'only GPUs without a driver'}"
    hint = "--wait-for-nodes SECONDS waits for an autoscaler to start one"
    if waited is not None:
        hint = "the autoscaler may have no such node type, or take longer: `ray status` says more"
    return UsageError(f"no node has a GPU{named}", there, hint)


@contextmanager
def _demands(count: int) -> Iterator[Any]:
    """Let an autoscaler know what is missing, by actors that no node has room for yet.

    Yields a function that takes a type and returns whether it was new. Two actors ask for each GPU
    of a type: labels and resources are independent, and a node type may declare only one of them.
    If it declares both, the autoscaler starts one node for both. Tasks would ask as well, but to
    cancel one that begins at this moment aborts Ray.

    Args:
        count: GPUs of each type to ask for.
    """
    import ray

    asking: dict[str, list[ActorHandle[Any]]] = {}

    def demand(kind: str) -> bool:
        if kind in asking:
            return False
        actor: Any = ray.remote(num_cpus=0, num_gpus=1)(_Demand)
        if kind.casefold() == ALL:
            asking[kind] = [actor.remote() for _ in range(count)]
        elif _LABEL_VALUE.fullmatch(kind):
            resource = {f"{_TYPE_RESOURCE}{kind}": 0.001}
            ways: list[dict[str, Any]] = [
                {"label_selector": {_TYPE_LABEL: kind}},
                {"resources": resource, "num_gpus": 0},
            ]
            asking[kind] = [actor.options(**way).remote() for way in ways for _ in range(count)]
        else:  # an exact name, which no autoscaler knows
            asking[kind] = []
        return True

    try:
        yield demand
    finally:
        for actor in (actor for some in asking.values() for actor in some):
            ray.kill(actor)


class _Demand:
    """Does nothing; the actor by which `_demands` asks for a node."""


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
