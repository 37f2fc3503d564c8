"""`odtk-ray infer`: flags to configuration to run."""

from typing import Annotated, Any

import click

from odtk_ray.cli.command import Debug, command, values_of
from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.odtk_leftovers import leftover_notes, odtk_flags
from odtk_ray.cli.quiet import is_quiet, quiet_option
from odtk_ray.config import InferConfig
from odtk_ray.errors import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, UsageError
from odtk_ray.options import Option


@command(
    "odtk-ray infer model.pth --images photos/ --draw drawn/",
    "odtk-ray infer model.onnx --images photos/ --annotations truth.json --resume",
    settings=InferConfig,
)
@quiet_option
@odtk_flags
def infer(
    *,
    dry_run: Annotated[
        bool,
        Option("Other", "Say what the run would be: images, shards, workers, engine. Nothing is "
               "written."),
    ] = False,
    pace: Annotated[
        str | None,
        Option("Other", "Metrics file of an earlier run, from whose speed --dry-run estimates the "
               "time.", "FILE", "no estimate"),
    ] = None,
    debug: Debug = False,
    **flags: Any,
) -> None:  # fmt: skip
    """Detect objects in images with a RetinaNet MODEL and write COCO JSON.

    With --annotations the detections are scored. A run that was stopped goes on with --resume.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some images failed.
    """

    def run() -> int:
        if dry_run:
            return _dry_run(flags, pace)
        if pace is not None:
            raise UsageError("--pace needs --dry-run", "a run itself measures its time")
        return _infer(flags)

    guarded(run, debug, resumable=not dry_run)


def _infer(flags: dict[str, Any]) -> int:
    from odtk_ray import api
    from odtk_ray.cli.screen import Console, print_summary

    _place_in_job(flags)
    with Console(quiet=is_quiet()) as console:
        console.notes(leftover_notes())
        summary = api.infer(**values_of(InferConfig, flags), reporter=console)
    print_summary(summary, quiet=is_quiet())
    click.get_current_context().ensure_object(dict).update(summary.counts())
    if summary.failed == summary.images:
        return EXIT_FAILED
    return EXIT_PARTIAL if summary.failed > flags["max_failures"] else EXIT_OK


def _dry_run(flags: dict[str, Any], pace: str | None) -> int:
    from odtk_ray.cli.screen import Console, print_rows
    from odtk_ray.run.dry_run import dry_run

    _place_in_job(flags)
    with Console(quiet=is_quiet()) as console:
        console.notes(leftover_notes())
        rows = dry_run(InferConfig(**values_of(InferConfig, flags)), console, pace)
    print_rows(rows)
    return EXIT_OK


def _place_in_job(flags: dict[str, Any]) -> None:
    """See that what a Ray job writes outlives it."""
    from odtk_ray.cli.job import check_places, in_job, output_in_run_dir

    if in_job():
        if not flags["output"]:
            flags |= {"output": output_in_run_dir(flags["run_dir"]), "run_dir": None}
        check_places(flags)
