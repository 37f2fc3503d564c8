"""Converts Ray's exceptions about workers and tasks to our own errors."""

from __future__ import annotations

import contextlib
import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from odtk_ray.dispatch.suspects import RESUME
from odtk_ray.engines.loader import IncompatibleGpu
from odtk_ray.errors import OdtkError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

# What Ray adds behind the reason where a process died in its actor's constructor.
_NEVER_RAN = "The actor never ran"
# What Ray adds where it does not know why a process died.
_GUESSES = " Some common causes include"
# How it says that it ended a process because a node's memory was full.
_OUT_OF_MEMORY = re.compile(r"\(IP: ([^,)]+)[^)]*\).*? was ([\d.]+)GB(?: used)? / ([\d.]+)GB")
# What Ray says where a process did not end by itself.
_NODE_DIED = "its node has died"
_OWNER_DIED = "its owner has died"
# How it names the node that a task ran on.
_LOST_NODE = re.compile(r"node ID: ([0-9a-f]+)")
# What Ray says where a node cannot import what an actor is made of, and how Python ends its words.
_NOT_IMPORTED = "failed to import on the worker"
_LAST_LINE = re.compile(r"^\w+(?:Error|Exception)\b.*", re.MULTILINE)


class UnfitNode(OdtkError):  # noqa: N818 - a state of the machine, as an `IncompatibleGpu` is
    """A node that cannot do its part of a run; the others go on without it.

    Attributes:
        node: Ray's id of the node.
        alone: the error of a run that has no other node.
    """

    node = ""
    alone: OdtkError


class NodeLost(OdtkError):  # noqa: N818 - a state of the cluster, as an `UnfitNode` is
    """The node of a task has ended, or there is none for it any more.

    Attributes:
        node: Ray's id of the node; empty if Ray does not say.
    """

    node = ""


def exit_reason(error: Exception) -> str:
    """Return why an actor is gone, in one line that names the exit, or the memory of its node."""
    text = str(error)
    if full := _OUT_OF_MEMORY.search(text):
        address, used, limit = full.groups()
        return f"node {address} is out of memory ({used} of {limit} GB are in use)"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(_NEVER_RAN)]
    return reasons[-1].partition(_GUESSES)[0] if reasons else type(error).__name__


def worker_error(error: Exception) -> OdtkError:
    """Convert what a worker raised into an error for the user."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, OdtkError):
        return OdtkError(f"on a worker: {cause.what}", cause.why, cause.hint)
    return OdtkError("a worker failed", _described(cause), RESUME)


def _described(cause: Exception) -> str:
    """Return in one line what a process of Ray's raised."""
    if isinstance(cause, OSError):
        where = f" ({cause.filename})" if cause.filename else ""
        return f"{cause.strerror or cause}{where}"
    return f"{type(cause).__name__}: {first_line(cause)}"


def task_error(error: Exception) -> OdtkError:
    """Return why a task failed that will not be retried."""
    from ray import exceptions
    from ray.exceptions import RayTaskError

    if isinstance(error, exceptions.NodeDiedError | exceptions.TaskUnschedulableError):
        lost = NodeLost("its node was lost")
        named = _LOST_NODE.search(str(error))
        lost.node = named[1] if named else ""
        return lost
    said: dict[type[Exception], tuple[str, str]] = {
        exceptions.GetTimeoutError: ("it does not answer", ""),
        exceptions.WorkerCrashedError: ("its process died", "killed, or crashed in a library"),
    }
    if not isinstance(error, RayTaskError):
        return OdtkError(*said.get(type(error), ("it could not run", exit_reason(error))))
    cause = error.cause
    if isinstance(cause, OdtkError):
        return cause
    return OdtkError(_described(cause))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without the stack that Ray adds."""
    return (str(error).strip() or "no message").splitlines()[0]


class Loss(Enum):
    """What the end of an actor means."""

    CRASH = auto()  # its process died
    NODE = auto()  # its node ended
    DRIVER = auto()  # Ray ended on the driver's machine, and ends all that it started
    UNKNOWN = auto()  # it does not answer: each of these is possible


def loss_of(error: Exception) -> Loss:
    """Return what an actor's end means.

    A process that dies is reported by its node. If the node is gone nobody reports anything: calls
    fail, until the head has waited for the node's heartbeats for some seconds.
    """
    from ray.exceptions import ActorUnavailableError

    if isinstance(error, ActorUnavailableError):
        return Loss.UNKNOWN
    if getattr(error, "preempted", False) or _NODE_DIED in str(error):
        return Loss.NODE
    return Loss.DRIVER if _OWNER_DIED in str(error) else Loss.CRASH


def actor_node(actor: ActorHandle[Any]) -> str:
    """Return the id of the node that an actor runs on, or ran on; empty if Ray does not know."""
    from ray._private.state import actors  # not public, and the public way needs a dashboard

    with contextlib.suppress(Exception):  # as other versions of Ray may answer
        table: dict[str, Any] = actors(actor._actor_id.hex())
        return str(table["Address"]["NodeID"])
    return ""


def could_not_start(error: Exception) -> bool:
    """Return whether a worker's constructor failed, which it would do again at the same place."""
    return _raised_at_start(error) is not None or _NOT_IMPORTED in str(error)


def _raised_at_start(error: Exception) -> Exception | None:
    from ray.exceptions import RayTaskError

    cause = error.args[0] if error.args else None
    return cause if isinstance(cause, RayTaskError) else None


def unfit_node(error: Exception, actor: ActorHandle[Any]) -> OdtkError:
    """Return why a worker that has not been ready cannot take part.

    It counts as its node's fault: if it is not, every other node will say the same.

    Raises:
        OdtkError: Ray does not know the node.
    """
    raised = _raised_at_start(error) or error
    cause = getattr(raised, "cause", None)
    if isinstance(cause, IncompatibleGpu):
        return cause
    node = actor_node(actor)
    failed, hint = worker_error(raised), ""
    if _NOT_IMPORTED in str(error):
        why = ["a module is missing", *_LAST_LINE.findall(str(error))][-1]
        hint = "install the same packages on every node"
        failed = OdtkError("a worker failed", why, hint)
    if not node:
        raise failed from error
    problem = cause if isinstance(cause, OdtkError) else OdtkError(failed.why, "", hint)
    unfit = UnfitNode(problem.what, problem.why, problem.hint)
    unfit.node, unfit.alone = node, failed
    return unfit
