"""The group of commands: whatever is wrong with a command line is said in our style."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from odtk_ray.cli.colours import echo_own
from odtk_ray.cli.error_lines import print_failure
from odtk_ray.cli.odtk_leftovers import TRAINING
from odtk_ray.cli.other_tools import command_hint
from odtk_ray.cli.printable import shell_line
from odtk_ray.cli.usage_errors import from_click
from odtk_ray.errors import EXIT_USAGE, OdtkError, UsageError
from odtk_ray.nearest import did_you_mean

_MODELS = (".pth", ".onnx", ".plan")


class CommandGroup(click.Group):
    """Shows errors of the command line as it does the commands' own, with hints."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program and leave with its exit code; see `click.Group.main`."""
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            if given or not isinstance(error, click.UsageError) or error.ctx is None:
                code = print_failure(from_click(error, given))
            else:
                echo_own(error.ctx.get_help(), err=True)
                code = EXIT_USAGE
        except (click.Abort, OdtkError) as error:
            code = print_failure(error)
        if standalone_mode:
            sys.exit(code)
        return code

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named first.

        Raises:
            UsageError: there is no such command.
        """
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            raise _no_command(args, ctx, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


def _no_command(args: list[str], context: click.Context, known: list[str]) -> UsageError:
    name = args[0]
    if name == "train":
        return UsageError("odtk-ray does not train", "it runs, scores and exports models", TRAINING)
    if name.startswith("-"):
        return from_click(click.NoSuchOption(name, ctx=context), [])
    what = f"there is no command {name}"
    if name.lower().endswith(_MODELS):
        rest = shell_line(args) if len(args) > 1 else f"{name} --images DIR"
        return UsageError(what, hint=f"{context.command_path} infer {rest}")
    if os.path.exists(name):
        return UsageError(what, hint=f"{context.command_path} infer MODEL --images {name}")
    hint = command_hint(name) or did_you_mean(name, known) or f"there are {', '.join(known)}"
    return UsageError(what, hint=hint)
