"""`odtk-ray export`: flags to configuration to export, of one file or of an engine set."""

from __future__ import annotations

from typing import Any

import click

from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.model_paths import EXPORT, MODEL
from odtk_ray.cli.odtk_leftovers import leftover_notes
from odtk_ray.cli.options import ManyValues, gpu_options, size_of
from odtk_ray.cli.quiet import is_quiet, quiet_option
from odtk_ray.errors import EXIT_OK, UsageError


@click.command(cls=ManyValues)
@click.argument("model", type=MODEL)
@click.argument("output", type=EXPORT)
@click.option("--size", type=click.IntRange(1), multiple=True, metavar="H W",
              help="Size of the network input in pixels; one number for a square.  "
                   "[default: 1280]")  # fmt: skip
@click.option("--full-precision", is_flag=True, help="Plans in FP32, TF32 off.  [default: FP16]")
@click.option("--dynamic-batch-opts", type=click.IntRange(1), multiple=True,
              metavar="MIN OPT MAX",
              help="Batches that a plan accepts, and the one it is tuned for.  "
                   "[default: 1 1 16]")  # fmt: skip
@click.option("--workspace", type=click.IntRange(1, 1 << 20), metavar="MIB",
              help="Memory that a layer of a plan may use.  [default: TensorRT's]")  # fmt: skip
@click.option("--timing-cache", metavar="FILE", help="Timings that builds of plans share.")
@click.option("--compute-capability", multiple=True, metavar="X.Y",
              help="Build a plan for this GPU without having it, with tensorrt-rtx.")  # fmt: skip
@click.option("--verbose", is_flag=True, help="Pass on everything that TensorRT says.")
@click.option("--rotated-bbox", is_flag=True,
              help="The model is rotated, which its file says too.")  # fmt: skip
@click.option("--with-postprocess", is_flag=True,
              help="The graph ends in scores, boxes and classes.")  # fmt: skip
@click.option("--opset", type=click.IntRange(13, 17),
              help="Version of ONNX's operators.  [default: 17]")  # fmt: skip
@click.option("--int8", is_flag=True, help="Quantise the network.")
@click.option("--calibration-images", metavar="DIR", help="Images that INT8 ranges are taken from.")
@click.option("--calibration-batches", type=click.IntRange(1),
              help="How many batches of them, drawn at random.  [default: 10]")  # fmt: skip
@click.option("--calibration-batch-size", type=click.IntRange(1),
              help="Images in each.  [default: 2]")  # fmt: skip
@click.option("--calibration-table", metavar="FILE",
              help="Ranges of INT8: used if the file is there, else written.")  # fmt: skip
@click.option("--calibration-annotations", metavar="FILE",
              help="COCO file of these images, or of --check-images: judges the export by "
                   "AP.")  # fmt: skip
@click.option("--calibration-method", type=click.Choice(["entropy", "percentile", "max", "mse"]),
              help="How ranges are chosen.  [default: entropy]")  # fmt: skip
@click.option("--recalibrate", is_flag=True, help="Write the table anew.")
@click.option("--int8-exclude", multiple=True, metavar="PATTERN",
              help="Operations that stay out of INT8, such as 'box_head.8*'.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Of the choice of images.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1),
              help="Calibrate on so many Ray workers.  [default: in this process]")  # fmt: skip
@click.option("--address", help="Ray cluster to calibrate on, and to build an engine set on.")
@gpu_options
@click.option("--check-images", metavar="DIR",
              help="Images for the check at the end.  [default: those of the calibration, or "
                   "made-up ones]")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(0, 1),
              help="As in infer; stored in the model as its default.  [default: 0.05]")  # fmt: skip
@click.option("--top-n", type=click.IntRange(1), help="Likewise.  [default: 1000]")  # fmt: skip
@click.option("--nms", type=click.FloatRange(0, 1), help="Likewise.  [default: 0.5]")  # fmt: skip
@click.option("--detections", type=click.IntRange(1), help="Likewise.  [default: 100]")  # fmt: skip
@click.option("--rotated-nms", type=click.Choice(["own", "odtk"]),
              help="Likewise.  [default: own]")  # fmt: skip
@click.option("--anchors", type=click.Choice(["auto", "current", "legacy"]), default="auto",
              show_default=True, help="As in infer.")  # fmt: skip
@quiet_option
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def export(debug: bool, **flags: Any) -> None:
    """Export a MODEL (.pth) to OUTPUT (.onnx), or build a TensorRT OUTPUT (.plan) of either.

    With --gpu-type OUTPUT is a folder, or URI, for a plan of each kind of GPU: an engine set. What
    was written is run, where it can be, and compared with what it was made of.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some plans of a set failed.
    """
    guarded(lambda: _export(flags), debug, resumable=False)


def _export(flags: dict[str, Any]) -> int:
    from odtk_ray import api
    from odtk_ray.cli.job import in_job, refuse_relative
    from odtk_ray.cli.screen import Console
    from odtk_ray.export.sets.export_set import BuiltSet

    batches = flags["dynamic_batch_opts"] or None
    if batches is not None and len(batches) != 3:
        raise UsageError("--dynamic-batch-opts takes three numbers", "they are MIN OPT MAX")
    flags |= {"size": size_of("--size", flags["size"]), "dynamic_batch_opts": batches}
    if flags["gpu_type"] and in_job():
        refuse_relative("OUTPUT", flags["output"])
    with Console(quiet=is_quiet()) as console:
        console.notes(leftover_notes())
        written = api.export(**flags, reporter=console)
    code = written.exit_code if isinstance(written, BuiltSet) else EXIT_OK
    if not is_quiet() or code != EXIT_OK:  # which plans failed is no remark
        for line in written.lines():
            click.echo(line)
    if isinstance(written, BuiltSet):
        click.get_current_context().ensure_object(dict).update(written.counts())
    return code
