"""Waits for nodes with the GPUs that are asked for, and has an autoscaler start them."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odtk_ray.cluster.gpu_nodes import (
    ALL,
    TYPE_LABEL,
    TYPE_RESOURCE,
    GpuNode,
    gpu_nodes,
    survey,
)
from odtk_ray.cluster.node_watch import is_called, look
from odtk_ray.engines.local_gpus import InspectMachine
from odtk_ray.errors import UsageError
from odtk_ray.reporter import Reporter

if TYPE_CHECKING:
    from ray.actor import ActorHandle

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)

# Seconds between two searches for nodes that are expected to join.
_LOOK_INTERVAL = 1.0


@dataclass(frozen=True)
class FoundNodes:
    """The GPU nodes that a search ended with.

    Attributes:
        nodes: those that report their GPUs.
        missing: the types that were asked for and that none of them has.
        silent: number of GPU nodes that do not report.
        waited: seconds that nodes were waited for at most; None did not wait.
    """

    nodes: list[GpuNode]
    missing: list[str]
    silent: int
    waited: float | None

    @property
    def advice(self) -> str:
        """What to do about types that are missing."""
        if self.waited is None:
            return "--wait-for-nodes SECONDS waits for an autoscaler to start one"
        return "the autoscaler may have no such node type, or take longer: `ray status` says more"

    def refusal(self) -> UsageError:
        """Create the error for the missing types; it names the existing ones."""
        anything = all(kind.casefold() == ALL for kind in self.missing)
        named = "" if anything else f" of type {', '.join(self.missing)}"
        if not self.nodes:
            silent = f"{self.silent} do not report them"
            there = silent if self.silent else "none of the live nodes has one"
        else:
            kinds = {f"{n.kind or 'no type'}: {gpu}" for n in self.nodes for gpu in n.kinds}
            there = f"there are {'; '.join(sorted(kinds)) or 'only GPUs without a driver'}"
        return UsageError(f"no node has a GPU{named}", there, self.advice)


def await_nodes(
    types: Sequence[str],
    wait: float | None,
    inspect: InspectMachine,
    reporter: Reporter,
    excluded: Collection[str] = (),
    count: int = 1,
) -> FoundNodes:
    """Find all GPU nodes, after waiting for at least one of each type.

    A node that is about to end does not count. An autoscaler is asked for all missing types at
    once. What it starts is held by that until the wait is over: it would take away a node that
    idles while another one is awaited.

    Args:
        types: types of which at least one node should exist; may be empty.
        wait: seconds to wait for such nodes, for example until an autoscaler starts them; None
            does not wait.
        inspect: see `survey`.
        reporter: likewise.
        excluded: names of nodes that do not count.
        count: GPUs of each type that an autoscaler is asked for; one node is waited for.
    """
    known: set[str] = set()
    nodes: list[GpuNode] = []
    deadline = None  # the first look takes seconds of its own
    with _demands(count) as demand:
        while True:
            leaving = look().draining
            here = {
                i: node
                for i, node in gpu_nodes().items()
                if i not in leaving and not is_called(node, excluded)
            }
            nodes = [node for node in nodes if node.id in here]
            nodes += survey({i: n for i, n in here.items() if i not in known}, inspect, reporter)
            known |= set(here)
            missing = [t for t in types if not any(node.wanted([t]) for node in nodes)]
            deadline = deadline or time.monotonic() + (wait or 0.0)
            if not missing or time.monotonic() >= deadline:
                return FoundNodes(nodes, missing, len(here) - len(nodes), wait)
            for kind in missing:
                if demand(kind):
                    what = "any GPU" if kind.casefold() == ALL else kind
                    reporter.note(f"waiting for a node with {what} ({wait:,.0f} s at most)")
            time.sleep(_LOOK_INTERVAL)


def find_nodes(
    types: Sequence[str],
    wait: float | None,
    inspect: InspectMachine,
    reporter: Reporter,
    excluded: Collection[str] = (),
    count: int = 1,
) -> list[GpuNode]:
    """Return all GPU nodes; the arguments are those of `await_nodes`.

    Raises:
        UsageError: no node has a GPU of some type; the existing types are named.
    """
    found = await_nodes(types, wait, inspect, reporter, excluded, count)
    if found.missing:
        raise found.refusal()
    return found.nodes


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
            resource = {f"{TYPE_RESOURCE}{kind}": 0.001}
            ways: list[dict[str, Any]] = [
                {"label_selector": {TYPE_LABEL: kind}},
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
