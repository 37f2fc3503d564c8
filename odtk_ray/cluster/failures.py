"""Converts Ray's exceptions about workers and tasks to our own errors."""

from __future__ import annotations

import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from odtk_ray.dispatch.suspects import RESUME
from odtk_ray.engines.loader import IncompatibleGpu
from odtk_ray.errors import OdtkError, UsageError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

# What Ray adds behind the reason where a process died in its actor's constructor.
_NEVER_RAN = "The actor never ran"
# What Ray says where a process did not end by itself.
_NODE_DIED = "its node has died"
_OWNER_DIED = "its owner has died"


class UnfitNode(OdtkError):  # noqa: N818 - a state of the machine, as an `IncompatibleGpu` is
    """A node that cannot do its part of a run; the others go on without it.

    Attributes:
        node: Ray's id of the node.
    """

    node = ""


def exit_reason(error: Exception) -> str:
    """Return why an actor is gone, in one line: the last of Ray's message, which names the exit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(_NEVER_RAN)]
    return reasons[-1] if reasons else type(error).__name__


def worker_error(error: Exception) -> OdtkError:
    """Convert what a worker raised into an error for the user."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, OdtkError):
        return OdtkError(f"on a worker: {cause.what}", cause.why, cause.hint)
    if isinstance(cause, OSError):
        where = f" ({cause.filename})" if cause.filename else ""
        return OdtkError("a worker failed", f"{cause.strerror or cause}{where}", RESUME)
    return OdtkError("a worker failed", f"{type(cause).__name__}: {first_line(cause)}", RESUME)


def task_error(error: Exception) -> OdtkError:
    """Return why a task failed that will not be retried."""
    from ray import exceptions
    from ray.exceptions import RayTaskError

    said = {
        exceptions.GetTimeoutError: ("it does not answer", ""),
        exceptions.NodeDiedError: ("its node was lost", ""),
        exceptions.TaskUnschedulableError: ("its node was lost", ""),
        exceptions.WorkerCrashedError: ("its process died", "killed, or crashed in a library"),
    }
    if not isinstance(error, RayTaskError):
        return OdtkError(*said.get(type(error), ("it could not run", exit_reason(error))))
    cause = error.cause
    if isinstance(cause, OdtkError):
        return cause
    if isinstance(cause, OSError):
        where = f" ({cause.filename})" if cause.filename else ""
        return OdtkError(f"{cause.strerror or cause}{where}")
    return OdtkError(f"{type(cause).__name__}: {first_line(cause)}")


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


def start_error(error: Exception) -> Exception | None:
    """Return what a worker's constructor raised; None if it did not."""
    from ray.exceptions import RayTaskError

    cause = error.args[0] if error.args else None
    return cause if isinstance(cause, RayTaskError) else None


def unfit_node(error: Exception, actor: ActorHandle[Any]) -> OdtkError:
    """Return why a worker cannot take part; a node's fault unless it knows better.

    Raises:
        OdtkError: no worker could, wherever it is.
    """
    raised = start_error(error) or error
    cause = getattr(raised, "cause", None)
    if isinstance(cause, IncompatibleGpu):
        return cause
    node = actor_node(actor)
    if isinstance(cause, UsageError) or not node:
        raise worker_error(raised) from error
    problem = cause if isinstance(cause, OdtkError) else worker_error(raised)
    unfit = UnfitNode(problem.what, problem.why, problem.hint)
    unfit.node = node
    return unfit
