"""The program `odtk-ray`: its commands, and what a Ray job needs at its end.

Heavy packages are imported by the commands, not here: `--help` answers at once.
"""

from __future__ import annotations

import os
import sys

import click

from odtk_ray import __version__
from odtk_ray.cli.bench import bench
from odtk_ray.cli.colours import echo_own
from odtk_ray.cli.command_group import CommandGroup
from odtk_ray.cli.compare import compare
from odtk_ray.cli.completion import complete_files, completion
from odtk_ray.cli.convert import convert
from odtk_ray.cli.demo import demo
from odtk_ray.cli.doctor import doctor
from odtk_ray.cli.evaluate import evaluate
from odtk_ray.cli.export import export
from odtk_ray.cli.infer import infer
from odtk_ray.cli.info import info
from odtk_ray.cli.library_words import show_as_ours
from odtk_ray.cli.odtk_leftovers import odtk_master
from odtk_ray.cli.status import status
from odtk_ray.errors import EXIT_OK


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="odtk-ray")
@odtk_master
def cli() -> None:
    """Distributed RetinaNet inference, evaluation and export on Ray."""


for _command in (
    infer,
    status,
    evaluate,
    compare,
    export,
    info,
    bench,
    doctor,
    convert,
    demo,
    completion,
):
    complete_files(_command)
    cli.add_command(_command)


def run() -> int:
    """Run the command that is asked for, and return its exit code."""
    # Ray would print a banner about usage statistics among our lines.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    show_as_ours()
    counts: dict[str, int] = {}
    try:
        cli(obj=counts)
        code = EXIT_OK
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else EXIT_OK
    from odtk_ray.cli.job import in_job, last_line

    if in_job():
        sys.stderr.flush()
        echo_own(last_line(code, counts))
    return code
