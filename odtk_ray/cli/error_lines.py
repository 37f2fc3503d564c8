"""How a failure looks: `error: what: why` and `  hint: what to do`, and the exit code it ends with.

One style, wherever the failure comes from: our own errors, click's, the operating system's.
"""

from __future__ import annotations

import os
import traceback

import click

from odtk_ray.cli.colours import echo
from odtk_ray.cli.missing_packages import explain_missing
from odtk_ray.cli.stop_signals import asked_to_stop
from odtk_ray.errors import EXIT_FAILED, EXIT_USAGE, OdtkError, UsageError

_KEPT = "what is committed stays; run again with --resume"


def print_failure(error: BaseException, *, resumable: bool = False) -> int:
    """Say why a command failed, on standard error, and return the exit code.

    Args:
        error: what a command, or the parsing of its arguments, raised.
        resumable: whether the command goes on with --resume.
    """
    if isinstance(error, KeyboardInterrupt | click.Abort) or asked_to_stop():
        echo(f"stopped: {_KEPT} to go on" if resumable else "stopped", err=True)
        return EXIT_FAILED
    what, why, hint, code = _described(error, resumable)
    echo(f"{what}{f': {why}' if why else ''}", label="error", err=True)
    if hint:
        echo(hint, label="hint", indent=2, err=True)
    return code


def print_traceback(error: BaseException) -> None:
    """Print where an error was raised, on standard error."""
    for lines in traceback.format_exception(error):
        for line in lines.splitlines():
            echo(line, err=True)


def _described(error: BaseException, resumable: bool) -> tuple[str, str, str, int]:
    """What, why, hint, and the exit code."""
    if isinstance(error, OdtkError):
        hint = error.hint or (_similar_file(error) if isinstance(error, UsageError) else "")
        return error.what, error.why, hint, error.exit_code
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        hint = f"{_KEPT} when the cause is gone" if resumable else ""
        return f"{error.strerror or error}{where}", "", hint, EXIT_FAILED
    if isinstance(error, ModuleNotFoundError):
        what, hint = explain_missing(error)
        return what, "", hint, EXIT_USAGE
    cause = getattr(error, "cause", None) or error  # of a Ray task; its text is a stack
    first = (str(cause).strip() or "no message").splitlines()[0]
    hint = "this is a defect of odtk-ray; --debug shows where it happened"
    return type(cause).__name__, first, hint, EXIT_FAILED


def _similar_file(error: UsageError) -> str:
    """A hint at the file that was probably meant, where one is missing; else empty."""
    from odtk_ray.storage.nearest_path import nearest_path

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, FileNotFoundError) and isinstance(cause.filename, str):
            found = nearest_path(cause.filename)
            return f"did you mean {_short(found)}?" if found else ""
        cause = cause.__cause__
    return ""


def _short(path: str) -> str:
    """A path as users type it: relative if it lies below the working directory."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative
