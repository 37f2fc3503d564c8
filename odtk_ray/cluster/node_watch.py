"""Follows which nodes the cluster has, beside the driver's work: Ray waits for a lost head."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from odtk_ray.dispatch.suspects import RESUME
from odtk_ray.errors import OdtkError

# Seconds between two looks: a node that is drained may have ten.
_INTERVAL = 2.0
# Seconds without an answer after which the cluster counts as gone. Ray ends the process after 60,
# with lines of its own.
_PATIENCE = 30.0
# The driver asks twice a second; a longer pause of its own is no silence of the cluster.
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True)
class ClusterView:
    """The nodes of a cluster at one time, as Ray describes them.

    Attributes:
        nodes: by their ids; some may have ended.
        draining: ids of those that are about to end.
    """

    nodes: dict[str, dict[str, Any]]
    draining: frozenset[str] = frozenset()

    @property
    def alive(self) -> set[str]:
        """The ids of the nodes that live."""
        return {i for i, node in self.nodes.items() if node["Alive"]}


class NodeWatch:
    """Looks at the cluster every two seconds, in a thread that may have to wait for it."""

    def __init__(self) -> None:
        import ray

        self._here = str(ray.get_runtime_context().get_node_id())
        self._view: ClusterView | None = None
        self._ended = False  # whether Ray has ended on this machine
        self._closed = threading.Event()
        self._asked, self._silence = time.monotonic(), 0.0
        self._thread = threading.Thread(target=self._follow, name="node watch", daemon=True)
        self._thread.start()

    def latest(self) -> ClusterView | None:
        """Return the newest view; None if there is none since the last call.

        Raises:
            OdtkError: the cluster, or the driver's own node, is gone.
        """
        now = time.monotonic()
        self._silence += min(now - self._asked, _LONGEST_PAUSE)
        self._asked = now
        if self._ended:
            raise driver_lost()
        view, self._view = self._view, None
        if view is not None:
            self._silence = 0.0
        elif self._silence > _PATIENCE:
            why = f"its head does not answer since {_PATIENCE:.0f} s"
            raise OdtkError("the Ray cluster is gone", why, RESUME)
        return view

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _follow(self) -> None:
        own: dict[str, Any] | None = None
        while not self._closed.is_set():
            with contextlib.suppress(Exception):  # of many kinds while Ray goes; silence counts
                self._view = view = look()
                own = view.nodes[self._here]
            if own is not None and not _listens(own):
                self._ended = True
            self._closed.wait(_INTERVAL)


def look() -> ClusterView:
    """Return the cluster's nodes as they are now."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return ClusterView({node["NodeID"]: node for node in nodes}, _draining())


def _draining() -> frozenset[str]:
    """Return the ids of the nodes that are about to end, where this version of Ray can tell.

    There is no public way; Ray Data asks the same.
    """
    from ray._private.state import state

    ask = getattr(state, "get_draining_nodes", None)
    return frozenset(ask() if ask else ())


def _listens(node: dict[str, Any]) -> bool:
    """Return whether a node's raylet has its port open; what cannot be told counts as yes.

    The head notices its end some seconds later, and then Ray would end the driver's process.
    """
    try:
        where = (node["NodeManagerAddress"], node["NodeManagerPort"])
        socket.create_connection(where, timeout=_INTERVAL).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return True


def driver_lost() -> OdtkError:
    """Create the error for a driver whose own part of Ray has ended."""
    return OdtkError("Ray has ended on the driver's machine", "its raylet is gone", RESUME)


def node_name(node: dict[str, Any] | None) -> str:
    """Return a node's address and host name, for messages."""
    if node is None:
        return "a node"
    address, host = node["NodeManagerAddress"], node["NodeManagerHostname"]
    return f"node {address}" + (f" ({host})" if host and host != address else "")


def is_called(node: dict[str, Any], names: Collection[str]) -> bool:
    """Return whether one of some names is a node's address, host name or id."""
    own = (node["NodeManagerAddress"], node["NodeManagerHostname"], node["NodeID"])
    return any(name in own for name in names)
