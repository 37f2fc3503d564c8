"""Flags of ODTK that are not needed here: accepted with a note, so that scripts go on to work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_NOTES = "odtk_ray.leftovers"  # key in the meta of click's context, which commands share

_REASONS = {
    "--with-dali": "JPEGs are decoded on the GPU anyway, and resized as models are trained",
    "--with-apex": "GPUs compute in FP16 anyway, unless --full-precision is given",
    "--no-apex": "there is no Apex; --full-precision computes in FP32",
    "--master": "Ray connects the processes; --address names a cluster",
}

TRAINING = "train with ODTK (https://github.com/NVIDIA/retinanet-examples): odtk-ray reads its .pth"


def odtk_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Accept ODTK's flags of `odtk infer` that are not needed here."""
    for name in ("--with-dali", "--with-apex", "--no-apex"):
        option = click.option(name, is_flag=True, hidden=True, expose_value=False, callback=_noted)
        command = option(command)
    return command


def odtk_master(command: Callable[..., Any]) -> Callable[..., Any]:
    """Accept ODTK's option in front of all its commands, `odtk --master address:port infer`."""
    option = click.option("--master", hidden=True, expose_value=False, callback=_noted)
    return option(command)


def leftover_notes() -> list[str]:
    """Return a note for each of these flags in the command line, to be said by the command."""
    notes: list[str] = click.get_current_context().meta.get(_NOTES, [])
    return notes


def _noted(context: click.Context, option: click.Parameter, value: object) -> None:
    if value:
        name = option.opts[0]
        context.meta.setdefault(_NOTES, []).append(f"{name} is not needed: {_REASONS[name]}")
