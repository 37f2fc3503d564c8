"""Flags that several commands have, and flags of several values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from odtk_ray.errors import UsageError
from odtk_ray.plural import counted

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
        raise UsageError(
            f"{flag} {shown} has {counted(len(values), 'number')}", f"it is {flag} H W"
        )
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
