"""The command line: flags to configuration to call. Only it, `commands` and `console` print.

Heavy packages are imported by the commands, not here: `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from odtk_ray import __version__
from odtk_ray.cli_annotations import convert, doctor
from odtk_ray.commands import ManyValues, given, gpu_options, guarded, size_of
from odtk_ray.errors import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, UsageError

if TYPE_CHECKING:
    from odtk_ray.config import ExportConfig
    from odtk_ray.console import Console

_POST = ("threshold", "top_n", "nms", "detections", "rotated_nms")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="odtk-ray")
def cli() -> None:
    """Distributed RetinaNet inference, evaluation and export on Ray."""


for _command in (convert, doctor):
    cli.add_command(_command)


@cli.command(cls=ManyValues)
@click.argument("model")
@click.option("--images", default=".", show_default=True,
              help="Folder, file, glob, list (.txt, one path a line) or URI; with --annotations "
                   "the folder or URI of its files.")  # fmt: skip
@click.option("--annotations", help="COCO file: names the images; scored if it has ground truth.")
@click.option("--output", "outputs", multiple=True, default=["detections.json"],
              show_default=True,
              help="Output files, format by name: .json (as ODTK), .results.json "
                   "(for loadRes), .jsonl, .csv, .parquet.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1),
              help="Images at once over all workers.  "
                   "[default: 8 a GPU, 2 a CPU worker]")  # fmt: skip
@click.option("--resize", type=click.IntRange(1), default=800, show_default=True,
              help="Short side in pixels.")  # fmt: skip
@click.option("--max-size", type=click.IntRange(1), default=1333, show_default=True,
              help="Limit of the long side in pixels.")  # fmt: skip
@click.option("--fit", type=click.IntRange(1), multiple=True, metavar="H W",
              help="Scale pictures to just fit into an input of this size, as exported models "
                   "do, instead of the two above.")  # fmt: skip
@click.option("--full-precision", is_flag=True,
              help="FP32 without TF32 on GPUs too (CPUs always use it).")  # fmt: skip
@click.option("--compile", type=click.Choice(["auto", "on", "off"]), default="auto",
              show_default=True,
              help="torch.compile on GPUs; auto: for shapes with images enough.")  # fmt: skip
@click.option("--decoder", type=click.Choice(["gpu", "cpu"]),
              help="What decodes JPEGs.  [default: the GPU where it can]")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.05, show_default=True,
              help="Scores must be greater than this.")  # fmt: skip
@click.option("--top-n", type=click.IntRange(1), default=1000, show_default=True,
              help="Candidates kept for each pyramid level.")  # fmt: skip
@click.option("--nms", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="IoU above which the worse box of a class is dropped.")  # fmt: skip
@click.option("--detections", type=click.IntRange(1), default=100, show_default=True,
              help="Detections kept for each image.")  # fmt: skip
@click.option("--anchors", type=click.Choice(["auto", "current", "legacy"]), default="auto",
              show_default=True,
              help="Anchors the model was trained with: legacy before March 2020.")  # fmt: skip
@click.option("--tile", type=click.IntRange(1),
              help="Cut images into windows of this side in pixels; --detections then limits "
                   "each of them.")  # fmt: skip
@click.option("--overlap", type=click.IntRange(0), default=0, show_default=True,
              help="Pixels that neighbouring windows share.")  # fmt: skip
@click.option("--rotated-bbox", is_flag=True,
              help="The model is rotated, which its file says too.")  # fmt: skip
@click.option("--rotated-nms", type=click.Choice(["own", "odtk"]), default="own",
              show_default=True,
              help="Compare rotated boxes with their own angles, or both with that of the worse "
                   "one, as ODTK does.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1),
              help="Number of workers.  [default: every GPU, else 1]")  # fmt: skip
@click.option("--threads-per-worker", "threads", type=click.IntRange(1),
              help="CPU threads of each worker.  [default: physical cores / workers]")  # fmt: skip
@click.option("--address", help="Ray cluster.  [default: RAY_ADDRESS, else Ray starts here]")
@gpu_options
@click.option("--fallback", metavar="MODEL",
              help="Checkpoint of an engine set, for GPUs that it has no plan for.")  # fmt: skip
@click.option("--recursive", is_flag=True, help="Enter sub-folders of --images.")
@click.option("--limit", type=click.IntRange(1), help="Only the first N images.")
@click.option("--allow-missing", is_flag=True,
              help="Leave out annotated images whose file is missing.")  # fmt: skip
@click.option("--exif", type=click.Choice(["ignore", "apply"]), default="ignore",
              show_default=True, help="EXIF orientation.")  # fmt: skip
@click.option("--max-pixels", type=click.IntRange(1), default=178_000_000, show_default=True,
              help="Larger pictures fail without being decoded.")  # fmt: skip
@click.option("--run-dir", help="Where the run keeps its state.  [default: <first output>.run]")
@click.option("--resume", is_flag=True, help="Continue the run in --run-dir.")
@click.option("--keep-run", is_flag=True, help="Keep --run-dir after success.")
@click.option("--draw", metavar="DIR", help="Write the pictures with boxes, labels and scores; "
              "those beyond --max-pixels smaller.")  # fmt: skip
@click.option("--draw-threshold", type=click.FloatRange(0, 1), default=0.3, show_default=True,
              help="Lowest score that is drawn.")  # fmt: skip
@click.option("--shard-timeout", type=click.FloatRange(min=1), metavar="SECONDS",
              help="Replace a worker that ends no image for so long.  "
                   "[default: 10 median shards, 120 at least]")  # fmt: skip
@click.option("--trace", metavar="FILE", help="Write a timeline for chrome://tracing or Perfetto.")
@click.option("--max-failures", type=click.IntRange(0), default=0, show_default=True,
              help="So many failed images still exit 0.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def infer(debug: bool, **flags: Any) -> None:
    """Detect objects in images with a RetinaNet MODEL and write COCO JSON.

    MODEL is a checkpoint (.pth), an exported model (.onnx, .plan), or the folder of an engine set.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some images failed.
    """
    guarded(lambda: _infer(flags), debug)


@cli.command(cls=ManyValues)
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


@cli.command()
@click.argument("file")
@click.option("--anchors", type=click.Choice(["auto", "current", "legacy"]), default="auto",
              show_default=True, help="As in infer.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def info(file: str, anchors: Any, debug: bool) -> None:
    """Say what a checkpoint, exported model or engine set FILE is."""

    def show() -> int:
        from odtk_ray.model.describe import describe_model

        rows = describe_model(file, anchors)
        width = max(len(name) for name, _ in rows)
        for name, text in rows:
            click.echo(f"{name:<{width}}  {text}")
        return EXIT_OK

    guarded(show, debug, resumable=False)


def _export(flags: dict[str, Any]) -> int:
    from odtk_ray.config import ExportConfig, Postprocessing
    from odtk_ray.console import Console

    stated = given()
    post = Postprocessing(**{name: flags.pop(name) for name in _POST})
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


def _infer(flags: dict[str, Any]) -> int:
    from odtk_ray.config import InferConfig, Postprocessing, Preprocessing
    from odtk_ray.console import Console, print_summary
    from odtk_ray.job import in_job, settle_places
    from odtk_ray.run.pipeline import infer as run

    stated = given()
    names = ("resize", "max_size", "exif", "max_pixels", "tile", "overlap")
    pre = Preprocessing(
        **{name: flags.pop(name) for name in names}, fit=size_of("--fit", flags.pop("fit"))
    )
    post = Postprocessing(**{name: flags.pop(name) for name in _POST})
    config = InferConfig(**flags, pre=pre, post=post, given=stated)
    if in_job():
        config = settle_places(config)
    with Console() as console:
        summary = run(config, console)
    print_summary(summary)
    click.get_current_context().ensure_object(dict).update(summary.counts())
    if summary.failed == summary.images:
        return EXIT_FAILED
    return EXIT_PARTIAL if summary.failed > config.max_failures else EXIT_OK


def _export_file(config: ExportConfig, console: Console) -> tuple[list[str], int]:
    from odtk_ray.artifacts.sidecar import is_plan

    if is_plan(config.output):
        from odtk_ray.export.planfile import export_plan  # needs no torch

        return export_plan(config, console).lines(), EXIT_OK
    from odtk_ray.export.run import export as export_onnx

    return export_onnx(config, console).lines(), EXIT_OK


def _export_set(config: ExportConfig, console: Console) -> tuple[list[str], int]:
    from odtk_ray.export.fleet import export_set
    from odtk_ray.job import in_job, refuse_relative

    if in_job():
        refuse_relative("OUTPUT", config.output)
    built = export_set(config, console)
    click.get_current_context().ensure_object(dict).update(built.counts())
    return built.lines(), built.exit_code


def main() -> None:
    """Entry point of the console script."""
    # Ray would print a banner about usage statistics among our lines.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    counts: dict[str, int] = {}
    try:
        cli(obj=counts)
    except SystemExit as stop:
        from odtk_ray.job import in_job, last_line

        if in_job():
            sys.stderr.flush()
            code = stop.code if isinstance(stop.code, int) else EXIT_OK
            click.echo(last_line(code, counts))
        raise
