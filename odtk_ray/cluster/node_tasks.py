"""Runs calls, such as builds, on given nodes; one that fails does not stop the others.

A call whose node is lost is made again on another one of its nodes. One that is about to end, as a
machine that a cloud takes back, gets no call.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odtk_ray.cluster.failures import NodeLost, task_error
from odtk_ray.cluster.gpu_nodes import NODE_LABEL
from odtk_ray.cluster.node_watch import look
from odtk_ray.errors import OdtkError
from odtk_ray.reporter import Reporter

if TYPE_CHECKING:
    from ray import ObjectRef

_LOOK_INTERVAL = 2.0  # seconds
# Seconds between two remarks about calls that are still running.
_SPEAK_INTERVAL = 30.0
_NO_NODE = ("its node was lost or is about to end", "no other one has such a GPU")
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
        content: its last argument, however large: one that several calls have is sent to each node
            once. None is not passed.
    """

    name: str
    nodes: tuple[str, ...]
    arguments: tuple[Any, ...]
    gpus: int = 1
    content: Any = None


def run_on_nodes(
    function: Callable[..., Any],
    calls: Sequence[Call],
    doing: str,
    reporter: Reporter,
) -> dict[str, Any | OdtkError]:
    """Make all calls at once, each in its own process with its own GPU.

    Args:
        function: runs on the node.
        calls: the calls to make.
        doing: what the function does, for remarks.
        reporter: receives remarks about calls that are still running.

    Returns:
        what the function returned, or why it failed, by the call's name.
    """
    import ray

    tries = _Tries(function)
    outcomes: dict[str, Any | OdtkError] = {}
    started = spoken = time.monotonic()
    try:
        for call in calls:
            if not tries.begin(call):
                outcomes[call.name] = OdtkError(*_NO_NODE)
        while tries.running:
            done, _ = ray.wait(list(tries.running), timeout=_LOOK_INTERVAL)
            for ref in done:
                call, outcome = tries.end(ref)
                if isinstance(outcome, NodeLost):
                    if tries.begin(call):
                        reporter.warn(f"{call.name}: its node was lost; it is tried on another one")
                        continue
                    outcome = OdtkError(*_NO_NODE)
                outcomes[call.name] = outcome
            if tries.running and time.monotonic() - spoken > _SPEAK_INTERVAL:
                spoken = time.monotonic()
                names = ", ".join(call.name for call in tries.running.values())
                reporter.note(f"{spoken - started:.0f} s: {doing}, or waiting for a GPU: {names}")
    finally:
        _cancel(list(tries.running))
    return outcomes


class _Tries:
    """The calls that run now, each on a node that was neither lost nor about to end before.

    Args:
        function: see `run_on_nodes`.

    Attributes:
        running: calls by what Ray returned for them.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        import ray

        self.running: dict[ObjectRef[Any], Call] = {}
        self._function = function
        self._stored: dict[int, ObjectRef[Any]] = {}  # contents of calls, by their identity
        # One process per call: its memory and its CUDA context end with it.
        self._task: Any = ray.remote(num_cpus=0, max_calls=1, max_retries=0)(_call)
        self._lost: set[str] = set()  # nodes; Ray goes on listing them for a while
        self._tried: dict[str, list[set[str]]] = defaultdict(list)  # of each call, its nodes

    def begin(self, call: Call) -> bool:
        """Make a call, again if its node was lost; return whether there is a node for it."""
        nodes, tried = self._staying(call), self._tried[call.name]
        # However long Ray lists lost nodes, a call is not made more often than it has nodes.
        if len(tried) >= max(1, len(call.nodes)) or (call.nodes and not nodes):
            return False
        tried.append(nodes)
        options: dict[str, Any] = {"num_gpus": call.gpus, "name": call.name}
        if nodes:
            options["label_selector"] = {NODE_LABEL: f"in({','.join(sorted(nodes))})"}
        task = self._task.options(**options)
        self.running[task.remote(self._function, call.arguments, self._store(call))] = call
        return True

    def end(self, ref: ObjectRef[Any]) -> tuple[Call, Any | OdtkError]:
        """Take the outcome of a call that has ended; `NodeLost` if that is due to its node."""
        call, outcome = self.running.pop(ref), _outcome(ref)
        if isinstance(outcome, NodeLost):
            self._lost.add(outcome.node)
        # A machine that is taken back may end its processes first.
        elif _process_died(outcome) and self._tried[call.name][-1] - self._staying(call):
            outcome = NodeLost(*outcome.args)
        return call, outcome

    def _store(self, call: Call) -> list[ObjectRef[Any]]:
        import ray

        if call.content is None:
            return []
        if id(call.content) not in self._stored:
            self._stored[id(call.content)] = ray.put(call.content)
        return [self._stored[id(call.content)]]

    def _staying(self, call: Call) -> set[str]:
        """Return the call's nodes that are neither lost nor about to end."""
        view = look()
        return set(call.nodes) & view.alive - view.draining - self._lost


def _call(
    function: Callable[..., Any], arguments: tuple[Any, ...], content: list[ObjectRef[Any]]
) -> Any:
    """Run a function on a node.

    The reference comes in a list. A reference that is an argument itself is pinned in the node's
    memory, and is never freed if the driver dies meanwhile (Ray issue 64627): after a few of those
    the node waits for memory instead of running anything.
    """
    import ray

    return function(*arguments, *ray.get(content))


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


def _process_died(outcome: Any) -> bool:
    from ray.exceptions import WorkerCrashedError

    return isinstance(outcome, OdtkError) and isinstance(outcome.__cause__, WorkerCrashedError)


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
