"""Chooses the plans that an engine set should have, and the nodes on which they are built."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from odtk_ray.artifacts.plan_figures import PlanFigures
from odtk_ray.artifacts.plan_key import key_of
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.cluster.gpu_nodes import GpuNode
from odtk_ray.engines.local_gpus import Gpu
from odtk_ray.exports.tensorrt.export_plan import describe_built
from odtk_ray.exports.tensorrt.plan_source import PlanSource
from odtk_ray.reporter import Reporter


@dataclass(frozen=True)
class WantedPlan:
    """A plan that the set should have, and where it is built.

    Attributes:
        about: its sidecar, as far as it is known before the build.
        nodes: ids of nodes that have such a GPU.
        gpus: how many to reserve there.
        source: what it is made of.
    """

    about: Sidecar
    nodes: tuple[str, ...]
    gpus: int
    source: PlanSource


@dataclass(frozen=True)
class PlanResult:
    """The result for one plan.

    Attributes:
        key: its key, or the GPU where there is none.
        state: `kept` were built before.
        seconds: that its build and its check took.
        size: in bytes.
        why: it failed.
        figures: what was measured of one that was built.
        findings: of the check, for people.
    """

    key: str
    state: Literal["built", "kept", "failed"]
    seconds: float = 0.0
    size: int = 0
    why: str = ""
    figures: PlanFigures | None = None
    findings: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Format the result for people."""
        if self.state == "failed":
            return [f"failed  {self.key}: {self.why}"]
        took = f", {self.seconds:.0f} s" if self.state == "built" else ""
        first = f"{self.state:<6}  {self.key} ({self.size / 1e6:.1f} MB{took})"
        return [first, *(f"        {line}" for line in self.findings)]


def find_wanted_plans(
    nodes: Sequence[GpuNode],
    types: Sequence[str],
    sources: Sequence[PlanSource],
    reporter: Reporter,
) -> tuple[dict[str, WantedPlan], list[PlanResult]]:
    """Return the plans of each GPU and TensorRT asked for, by key; failures where there are none.

    Args:
        nodes: those that there are.
        types: those of their GPUs that are asked for.
        sources: what plans are made of, one for each precision and size.
        reporter: warned of nodes without TensorRT, and told of slices of GPUs.
    """
    groups: dict[tuple[Gpu, str], list[GpuNode]] = defaultdict(list)
    for node in nodes:
        for gpu in node.wanted(types):
            groups[gpu, node.machine.tensorrt].append(node)
    able = {gpu for gpu, tensorrt in groups if tensorrt}
    wanted: dict[str, WantedPlan] = {}
    rows: list[PlanResult] = []
    for (gpu, tensorrt), some in groups.items():
        if not tensorrt:
            where, why = ", ".join(node.address for node in some), some[0].machine.trouble
            if gpu in able:
                reporter.warn(f"no TensorRT on {where}, which cannot run plans: {why}")
            else:
                rows.append(PlanResult(str(gpu), "failed", why=f"no TensorRT on {where}: {why}"))
            continue
        if gpu.is_slice:
            reporter.note(
                f"{gpu} is a slice of a GPU (MIG): its plan runs on slices of this profile only"
            )
        pure = [node for node in some if node.kinds == (gpu,)]
        # Ray does not say which of a node's GPUs it gives: of a mixed node all are reserved.
        alike = pure or [node for node in some if node.count == some[0].count]
        where_to, count = tuple(node.id for node in alike), 1 if pure else some[0].count
        for source in sources:
            about = describe_built(source.model, source.options, tensorrt, gpu)
            wanted[key_of(about)] = WantedPlan(about, where_to, count, source)
    return wanted, rows
