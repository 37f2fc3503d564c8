"""Completion of commands, options, values and files in bash, zsh and fish."""

from typing import Annotated, Literal

import click
from click.shell_completion import get_completion_class

from odtk_ray.cli.colours import echo_own
from odtk_ray.cli.command import command
from odtk_ray.cli.model_paths import EXPORT, MODEL
from odtk_ray.options import Option

# Parameters that name models; `output` is one where it is an argument.
_MODELS = {"model": MODEL, "models": MODEL, "output": EXPORT}
# Arguments and options that name other files or folders.
_PATHS = frozenset(
    "config output detections thresholds source target folder images annotations classes run_dir "
    "draw crops trace fallback pace samples timing_cache calibration_images calibration_table "
    "calibration_annotations check_images report".split()
)


@command(
    "odtk-ray completion bash",
    "odtk-ray completion fish",
)
@click.pass_context
def completion(
    context: click.Context,
    shell: Annotated[
        Literal["bash", "zsh", "fish"], Option("Arguments", "bash, zsh or fish.", "SHELL")
    ],
) -> None:
    """Print the script that completes commands, options and files in a shell.

    \b
    bash: add to ~/.bashrc:  eval "$(odtk-ray completion bash)"
    zsh:  add to ~/.zshrc, below compinit:  eval "$(odtk-ray completion zsh)"
    fish: odtk-ray completion fish > ~/.config/fish/completions/odtk-ray.fish
    """  # noqa: D301 - click's mark for lines that stay as they are
    program = context.find_root().command
    kind = get_completion_class(shell)
    if kind is None:
        raise ValueError(f"click completes nothing in {shell}")
    echo_own(kind(program, {}, "odtk-ray", "_ODTK_RAY_COMPLETE").source())


def complete_files(command: click.Command) -> None:
    """Have shells complete files where a command takes paths."""
    for param in command.params:
        if param.name == "model" or (isinstance(param, click.Argument) and param.name in _MODELS):
            param.type = _MODELS[param.name]
        elif param.name in _PATHS and param.type is click.STRING:
            param.type = click.Path(readable=False)  # only completes: it may be missing, or a URI
