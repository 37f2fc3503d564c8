"""What every command of the command line does with errors: they are messages, and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import click

from odtk_ray.errors import EXIT_FAILED, EXIT_USAGE, OdtkError

_KEPT = "what is committed stays; run again with --resume"


def guarded(command: Callable[[], int], debug: bool, *, resumable: bool = True) -> NoReturn:
    """Run a command and leave with its exit code; a failure is a message, not a traceback."""

    def stop(number: int, frame: FrameType | None) -> None:
        # SIGTERM, as a job's end or a scheduler sends it. Of what handlers raise, Ray's calls let
        # nothing else through.
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        code = command()
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        text, code = _told(error, resumable)
        click.echo(text, err=True)
    sys.stdout.flush()
    sys.exit(code)


def _told(error: BaseException, resumable: bool) -> tuple[str, int]:
    """What is said of a failure, and the exit code."""
    if isinstance(error, OdtkError):
        return f"error: {error}", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return f"stopped: {_KEPT} to go on" if resumable else "stopped", EXIT_FAILED
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        hint = f"\n  hint: {_KEPT} when the cause is gone" if resumable else ""
        return f"error: {error.strerror or error}{where}{hint}", EXIT_FAILED
    if isinstance(error, ModuleNotFoundError):
        return f"error: this needs the Python package {error.name}, which is missing", EXIT_USAGE
    cause = getattr(error, "cause", None) or error  # of a Ray task; its text is a stack
    first = (str(cause).strip() or "no message").splitlines()[0]
    hint = "\n  hint: this is a defect of odtk-ray; --debug shows where it happened"
    return f"error: {type(cause).__name__}: {first}{hint}", EXIT_FAILED
