"""Builds on the nodes that they are for: each fails alone, and none is waited for in vain."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odtk_ray.cluster.failures import task_error
from odtk_ray.cluster.gpus import Reporter, gpu_nodes
from odtk_ray.cluster.roster import on_nodes
from odtk_ray.errors import OdtkError

if TYPE_CHECKING:
    from ray import ObjectRef

# Seconds between two looks at the nodes: Ray lets a task wait for ever for one that is gone.
_LOOK_INTERVAL = 2.0
# Seconds between two lines that say what is still going on.
_SPEAK_INTERVAL = 30.0
# Seconds that builds get to clean up after themselves; a Ray job that is stopped has three.
_GRACE = 2.0


@dataclass(frozen=True)
class Job:
    """One build.

    Attributes:
        key: its name.
        nodes: ids of the nodes any of which will do.
        gpus: how many to reserve there; all of a node where Ray could give the wrong one.
        arguments: what the build is called with.
    """

    key: str
    nodes: tuple[str, ...]
    gpus: int
    arguments: tuple[Any, ...]


def run_builds(
    build: Callable[..., Any], jobs: Sequence[Job], report: Reporter
) -> dict[str, Any | OdtkError]:
    """Run all builds at once, each in a process of its own that has its GPU for itself.

    Args:
        build: runs on the node.
        jobs: calls of it.
        report: told what is still going on.

    Returns:
        by key what the build returned, or why it failed.
    """
    import ray

    # A process a build, so that its memory and its CUDA context end with it.
    task: Any = ray.remote(num_cpus=0, max_calls=1, max_retries=0)(build)
    refs: dict[ObjectRef[Any], Job] = {}
    outcomes: dict[str, Any | OdtkError] = {}
    started = spoken = time.monotonic()
    try:
        for job in jobs:
            placed = task.options(num_gpus=job.gpus, label_selector=on_nodes(job.nodes))
            refs[placed.remote(*job.arguments)] = job
        while refs:
            done, _ = ray.wait(list(refs), timeout=_LOOK_INTERVAL)
            for ref in done:
                outcomes[refs.pop(ref).key] = _outcome(ref)
            outcomes |= _give_up_lost(refs)
            if refs and time.monotonic() - spoken > _SPEAK_INTERVAL:
                spoken = time.monotonic()
                names = ", ".join(job.key for job in refs.values())
                report.note(f"{spoken - started:.0f} s: building, or waiting for a GPU: {names}")
    finally:
        _cancel(list(refs))
    return outcomes


def _outcome(ref: ObjectRef[Any]) -> Any | OdtkError:
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(ref)
    except RayError as error:
        return task_error(error)


def _give_up_lost(refs: dict[ObjectRef[Any], Job]) -> dict[str, OdtkError]:
    """Cancel what waits for nodes that are gone."""
    import ray

    alive = gpu_nodes().keys()
    lost = [ref for ref, job in refs.items() if not alive & set(job.nodes)]
    for ref in lost:
        ray.cancel(ref, force=True)
    return {refs.pop(ref).key: OdtkError("its node was lost") for ref in lost}


def _cancel(refs: list[ObjectRef[Any]]) -> None:
    """End builds: first as Ctrl-C would, so that they remove what they have begun to write."""
    import ray

    if not refs:
        return
    for ref in refs:
        ray.cancel(ref)
    _, busy = ray.wait(refs, num_returns=len(refs), timeout=_GRACE)
    for ref in busy:
        ray.cancel(ref, force=True)
