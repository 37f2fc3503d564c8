"""Converts Ray's exceptions about workers and tasks to our own errors."""

from __future__ import annotations

from odtk_ray.dispatch.suspects import RESUME
from odtk_ray.engines.loader import IncompatibleGpu
from odtk_ray.errors import OdtkError

# What Ray adds behind the reason where a process died in its actor's constructor.
_NEVER_RAN = "The actor never ran"


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


def constructor_error(error: Exception) -> OdtkError | None:
    """Return why a worker's constructor failed, which it would do again; None if it did not."""
    from ray.exceptions import RayTaskError

    cause = error.args[0] if error.args else None
    return worker_error(cause) if isinstance(cause, RayTaskError) else None


def incompatible_gpu(error: Exception) -> IncompatibleGpu | None:
    """Return why a worker refused its GPU; None if it failed for something else."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, IncompatibleGpu) else None
