"""The option `--quiet`: only warnings, errors and figures that were asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_QUIET = "odtk_ray.quiet"  # key in the meta of click's context


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--quiet`; `is_quiet` says whether it was given."""
    option = click.option(
        "--quiet", is_flag=True, expose_value=False, callback=_remember,
        help="Print only warnings and errors, and the figures of an "
             "evaluation.")  # fmt: skip
    return option(command)


def is_quiet() -> bool:
    """Whether the command that runs was told to be quiet."""
    return bool(click.get_current_context().meta.get(_QUIET, False))


def _remember(context: click.Context, option: click.Parameter, value: bool) -> None:
    context.meta[_QUIET] = value
