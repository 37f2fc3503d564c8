"""Completion of commands, options, values and files in bash, zsh and fish."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

# Arguments and options that name files or folders.
_PATHS = frozenset(
    "model file output source target folder images annotations run_dir draw trace fallback samples "
    "timing_cache calibration_images calibration_table calibration_annotations check_images".split()
)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and files in SHELL.

    \b
    bash: add to ~/.bashrc:  eval "$(odtk-ray completion bash)"
    zsh:  add to ~/.zshrc, below compinit:  eval "$(odtk-ray completion zsh)"
    fish: odtk-ray completion fish > ~/.config/fish/completions/odtk-ray.fish
    """  # noqa: D301 - click's mark for lines that stay as they are
    program = context.find_root().command
    kind = get_completion_class(shell)
    if kind is None:
        raise ValueError(f"click completes nothing in {shell}")
    click.echo(kind(program, {}, "odtk-ray", "_ODTK_RAY_COMPLETE").source())


def complete_files(command: click.Command) -> None:
    """Have shells complete files where a command takes paths."""
    for param in command.params:
        if param.name in _PATHS and param.type is click.STRING:
            param.type = click.Path(readable=False)  # only completes: it may be missing, or a URI
