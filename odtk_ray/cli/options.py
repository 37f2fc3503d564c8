"""What every command of the command line needs: flags of several values, errors as messages."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from odtk_ray.errors import EXIT_FAILED, EXIT_USAGE, OdtkError, UsageError

_OUTPUT_ENDINGS = (".json", ".jsonl", ".csv", ".parquet")

# Flags that take several values, as ODTK's do, and what such a value looks like.
_MANY: dict[str, Callable[[str], bool]] = {
    "--output": lambda text: text.endswith(_OUTPUT_ENDINGS) and not text.startswith("-"),
    "--size": str.isdigit,
    "--fit": str.isdigit,
    "--dynamic-batch-opts": str.isdigit,
}


class ManyValues(click.Command):
    """Accepts ODTK's `--output a b`, several values behind one flag, beside click's own form."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeats the flag before each of its values."""
        expanded: list[str] = []
        previous = ""
        for token in args:
            if previous in _MANY and expanded[-1] != previous:
                if _MANY[previous](token):
                    expanded.append(previous)
                else:
                    previous = token
            elif token.startswith("-"):
                previous = token
            expanded.append(token)
        return super().parse_args(ctx, expanded)


def size_of(flag: str, values: Sequence[int]) -> tuple[int, int] | None:
    """Height and width from one or two numbers; None from none."""
    if len(values) > 2:
        shown = " ".join(map(str, values))
        raise UsageError(f"{flag} {shown} has {len(values)} numbers", f"it is {flag} H W")
    return (values[0], values[-1]) if values else None


def gpu_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags that choose GPUs of the cluster."""
    kind = click.option(
        "--gpu-type", multiple=True, metavar="TYPE",
        help="GPUs to use, or to build an engine set for: by Ray's type (H100), by name ('NVIDIA "
             "H100 80GB HBM3'), or all; may be repeated.")  # fmt: skip
    wait = click.option(
        "--wait-for-nodes", type=click.FloatRange(min=0), metavar="SECONDS",
        help="Wait so long for an autoscaler to start nodes with these GPUs.")  # fmt: skip
    return kind(wait(command))


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
