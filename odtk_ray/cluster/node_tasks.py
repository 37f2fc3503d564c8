"""Runs calls, such as builds, on given nodes; one that fails does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odtk_ray.cluster.failures import task_error
from odtk_ray.cluster.gpu_nodes import NODE_LABEL
from odtk_ray.errors import OdtkError
from odtk_ray.reporter import Reporter

if TYPE_CHECKING:
    from ray import ObjectRef

_LOOK_INTERVAL = 2.0  # seconds
# Seconds between two remarks about calls that are still running.
_SPEAK_INTERVAL = 30.0
# Seconds that calls get to clean up after themselves; a Ray job that is stopped has three.
_GRACE = 2.0


@dataclass(frozen=True)
class Call:
    """A call, and the nodes on which it may run.

    Attributes:
        name: for messages; unique.
        nodes: ids of nodes, any one of which will do; empty means any node.
        arguments: of the call.
        gpus: number of GPUs to reserve; all of a node if Ray could assign the wrong kind.
    """

    name: str
    nodes: tuple[str, ...]
    arguments: tuple[Any, ...]
    gpus: int = 1


def run_on_nodes(
    function: Callable[..., Any],
    calls: Sequence[Call],
    doing: str,
    reporter: Reporter,
    shared: Any = None,
) -> dict[str, Any | OdtkError]:
    """Make all calls at once, each in its own process with its own GPU.

    Args:
        function: runs on the node.
        calls: the calls to make.
        doing: what the function does, for remarks.
        reporter: receives remarks about calls that are still running.
        shared: the last argument of every call, however large: it is sent to each node once. None
            is not passed.

    Returns:
        what the function returned, or why it failed, by the call's name.
    """
    import ray

    # One process per call: its memory and its CUDA context end with it.
    task: Any = ray.remote(num_cpus=0, max_calls=1, max_retries=0)(_call)
    content = [] if shared is None else [ray.put(shared)]
    refs: dict[ObjectRef[Any], Call] = {}
    outcomes: dict[str, Any | OdtkError] = {}
    started = spoken = time.monotonic()
    try:
        for call in calls:
            options: dict[str, Any] = {"num_gpus": call.gpus, "name": call.name}
            if call.nodes:
                options["label_selector"] = {NODE_LABEL: f"in({','.join(call.nodes)})"}
            refs[task.options(**options).remote(function, call.arguments, content)] = call
        while refs:
            done, _ = ray.wait(list(refs), timeout=_LOOK_INTERVAL)
            for ref in done:
                outcomes[refs.pop(ref).name] = _outcome(ref)
            if refs and time.monotonic() - spoken > _SPEAK_INTERVAL:
                spoken = time.monotonic()
                names = ", ".join(call.name for call in refs.values())
                reporter.note(f"{spoken - started:.0f} s: {doing}, or waiting for a GPU: {names}")
    finally:
        _cancel(list(refs))
    return outcomes


def _call(
    function: Callable[..., Any], arguments: tuple[Any, ...], shared: list[ObjectRef[Any]]
) -> Any:
    """Run a function on a node.

    The reference comes in a list. A reference that is an argument itself is pinned in the node's
    memory, and is never freed if the driver dies meanwhile (Ray issue 64627): after a few of those
    the node waits for memory instead of running anything.
    """
    import ray

    return function(*arguments, *ray.get(shared))


def _outcome(ref: ObjectRef[Any]) -> Any | OdtkError:
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(ref)
    except RayError as error:
        failure = task_error(error)
        # For --debug: its text is the node's traceback. Its own would keep `ref` alive in a cycle,
        # and collecting that after Ray has ended, in another thread, crashes the process.
        failure.__cause__ = error.with_traceback(None)
        return failure


def _cancel(refs: list[ObjectRef[Any]]) -> None:
    """Cancel calls: first as Ctrl-C would, so that they remove unfinished files, then by force."""
    import ray

    if not refs:
        return
    for ref in refs:
        ray.cancel(ref)
    _, busy = ray.wait(refs, num_returns=len(refs), timeout=_GRACE)
    for ref in busy:
        ray.cancel(ref, force=True)
