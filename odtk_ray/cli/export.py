"""`odtk-ray export`: flags to configuration to export, of one file or of an engine set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from odtk_ray.cli.options import POSTPROCESSING, ManyValues, given, gpu_options, guarded, size_of
from odtk_ray.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from odtk_ray.cli.screen import Console
    from odtk_ray.config import ExportConfig


@click.command(cls=ManyValues)
@click.argument("model")
@click.argument("output")
@click.option("--size", type=click.IntRange(1), multiple=True, metavar="H W", default=[1280],
              show_default=True,
              help="Size of the network input in pixels; one number for a square.")  # fmt: skip
@click.option("--full-precision", is_flag=True, help="Plans in FP32, TF32 off.  [default: FP16]")
@click.option("--dynamic-batch-opts", "batches", type=click.IntRange(1), multiple=True,
              metavar="MIN OPT MAX", default=[1, 1, 16], show_default=True,
              help="Batches that a plan accepts, and the one it is tuned for.")  # fmt: skip
@click.option("--workspace", type=click.IntRange(1, 1 << 20), metavar="MIB",
              help="Memory that a layer of a plan may use.  [default: TensorRT's]")  # fmt: skip
@click.option("--timing-cache", metavar="FILE", help="Timings that builds of plans share.")
@click.option("--compute-capability", "capabilities", multiple=True, metavar="X.Y",
              help="Build a plan for this GPU without having it, with tensorrt-rtx.")  # fmt: skip
@click.option("--verbose", is_flag=True, help="Pass on everything that TensorRT says.")
@click.option("--rotated-bbox", is_flag=True,
              help="The model is rotated, which its file says too.")  # fmt: skip
@click.option("--with-postprocess", is_flag=True,
              help="The graph ends in scores, boxes and classes.")  # fmt: skip
@click.option("--opset", type=click.IntRange(13, 17), default=17, show_default=True,
              help="Version of ONNX's operators.")  # fmt: skip
@click.option("--int8", is_flag=True, help="Quantise the network.")
@click.option("--calibration-images", metavar="DIR", help="Images that INT8 ranges are taken from.")
@click.option("--calibration-batches", type=click.IntRange(1), default=10, show_default=True,
              help="How many batches of them, drawn at random.")  # fmt: skip
@click.option("--calibration-batch-size", type=click.IntRange(1), default=2, show_default=True,
              help="Images in each.")  # fmt: skip
@click.option("--calibration-table", metavar="FILE",
              help="Ranges of INT8: used if the file is there, else written.")  # fmt: skip
@click.option("--calibration-annotations", metavar="FILE",
              help="COCO file of these images, or of --check-images: judges the export by "
                   "AP.")  # fmt: skip
@click.option("--calibration-method", default="entropy", show_default=True,
              type=click.Choice(["entropy", "percentile", "max", "mse"]),
              help="How ranges are chosen.")  # fmt: skip
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
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.05, show_default=True,
              help="As in infer; stored in the model as its default.")  # fmt: skip
@click.option("--top-n", type=click.IntRange(1), default=1000, show_default=True,
              help="Likewise.")  # fmt: skip
@click.option("--nms", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Likewise.")  # fmt: skip
@click.option("--detections", type=click.IntRange(1), default=100, show_default=True,
              help="Likewise.")  # fmt: skip
@click.option("--rotated-nms", type=click.Choice(["own", "odtk"]), default="own",
              show_default=True, help="Likewise.")  # fmt: skip
@click.option("--anchors", type=click.Choice(["auto", "current", "legacy"]), default="auto",
              show_default=True, help="As in infer.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def export(debug: bool, **flags: Any) -> None:
    """Export a MODEL (.pth) to OUTPUT (.onnx), or build a TensorRT OUTPUT (.plan) of either.

    With --gpu-type OUTPUT is a folder, or URI, for a plan of each kind of GPU: an engine set. What
    was written is run, where it can be, and compared with what it was made of.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some plans of a set failed.
    """
    guarded(lambda: _export(flags), debug, resumable=False)


def _export(flags: dict[str, Any]) -> int:
    from odtk_ray.cli.screen import Console
    from odtk_ray.config import ExportConfig, Postprocessing

    stated = given()
    post = Postprocessing(**{name: flags.pop(name) for name in POSTPROCESSING})
    size = size_of("--size", flags.pop("size"))
    if size is None:
        raise ValueError("--size has a default")
    batches = flags.pop("batches")
    if len(batches) != 3:
        raise UsageError("--dynamic-batch-opts takes three numbers", "they are MIN OPT MAX")
    config = ExportConfig(**flags, size=size, post=post, batches=batches, given=stated)
    with Console() as console:
        lines, code = (_export_set if config.gpu_types else _export_file)(config, console)
    for line in lines:
        click.echo(line)
    return code


def _export_file(config: ExportConfig, console: Console) -> tuple[list[str], int]:
    from odtk_ray.artifacts.sidecar import is_plan

    if is_plan(config.output):
        from odtk_ray.export.tensorrt.export_plan import export_plan  # needs no torch

        return export_plan(config, console).lines(), EXIT_OK
    from odtk_ray.export.onnx.export_onnx import export as export_onnx

    return export_onnx(config, console).lines(), EXIT_OK


def _export_set(config: ExportConfig, console: Console) -> tuple[list[str], int]:
    from odtk_ray.cli.job import in_job, refuse_relative
    from odtk_ray.export.sets.export_set import export_set

    if in_job():
        refuse_relative("OUTPUT", config.output)
    built = export_set(config, console)
    click.get_current_context().ensure_object(dict).update(built.counts())
    return built.lines(), built.exit_code
