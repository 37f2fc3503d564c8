"""`odtk-ray export`: flags to configuration to export, of one file or of an engine set."""

from typing import Any

import click

from odtk_ray.cli.colours import echo
from odtk_ray.cli.command import Debug, command, values_of
from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.odtk_leftovers import leftover_notes
from odtk_ray.cli.quiet import is_quiet, quiet_option
from odtk_ray.config import ExportConfig
from odtk_ray.errors import EXIT_OK


@command(
    "odtk-ray export model.pth model.onnx --size 800 1280",
    "odtk-ray export model.pth model.plan --int8 --calibration-images photos/",
    settings=ExportConfig,
)
@quiet_option
def export(*, debug: Debug = False, **flags: Any) -> None:
    """Export a checkpoint to ONNX, or build a TensorRT plan or an engine set.

    What was written is run, where it can be, and compared with what it was made of. The values
    under "Detections" are stored in it as its defaults. With --gpu-type a plan is built for each
    kind of GPU: an engine set.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some plans of a set failed.
    """
    guarded(lambda: _export(flags), debug, resumable=False)


def _export(flags: dict[str, Any]) -> int:
    from odtk_ray import api
    from odtk_ray.cli.job import in_job, refuse_relative
    from odtk_ray.cli.screen import Console
    from odtk_ray.exports.engine_set.export_set import BuiltSet

    if flags["gpu_type"] and in_job():
        refuse_relative("OUTPUT", flags["output"])
    with Console(quiet=is_quiet()) as console:
        console.notes(leftover_notes())
        written = api.export(**values_of(ExportConfig, flags), reporter=console)
    code = written.exit_code if isinstance(written, BuiltSet) else EXIT_OK
    if not is_quiet() or code != EXIT_OK:  # the plans that failed are no remark
        for line in written.lines():
            echo(line)
    if isinstance(written, BuiltSet):
        click.get_current_context().ensure_object(dict).update(written.counts())
    return code
