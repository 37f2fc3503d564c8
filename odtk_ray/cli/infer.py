"""`odtk-ray infer`: flags to configuration to run."""

from __future__ import annotations

from typing import Any

import click

from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.model_paths import MODEL
from odtk_ray.cli.odtk_leftovers import leftover_notes, odtk_flags
from odtk_ray.cli.options import ManyValues, gpu_options, size_of
from odtk_ray.cli.quiet import is_quiet, quiet_option
from odtk_ray.errors import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL


@click.command(cls=ManyValues)
@click.argument("model", type=MODEL)
@click.option("--images", default=".", show_default=True,
              help="Folder, file, glob, list (.txt, one path a line) or URI; with --annotations "
                   "the folder or URI of its files.")  # fmt: skip
@click.option("--annotations", help="COCO file: names the images; scored if it has ground truth.")
@click.option("--output", multiple=True,
              help="Output files, format by name: .json (as ODTK), .results.json (for loadRes), "
                   ".jsonl, .csv, .parquet.  [default: detections.json]")  # fmt: skip
@click.option("--batch", type=click.IntRange(1),
              help="Images at once over all workers.  "
                   "[default: 8 a GPU, 2 a CPU worker]")  # fmt: skip
@click.option("--resize", type=click.IntRange(1),
              help="Short side in pixels.  [default: 800]")  # fmt: skip
@click.option("--max-size", type=click.IntRange(1),
              help="Limit of the long side in pixels.  [default: 1333]")  # fmt: skip
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
@click.option("--threshold", type=click.FloatRange(0, 1),
              help="Scores must be greater than this.  "
                   "[default: the model's, else 0.05]")  # fmt: skip
@click.option("--top-n", type=click.IntRange(1),
              help="Candidates kept for each pyramid level.  "
                   "[default: the model's, else 1000]")  # fmt: skip
@click.option("--nms", type=click.FloatRange(0, 1),
              help="IoU above which the worse box of a class is dropped.  "
                   "[default: the model's, else 0.5]")  # fmt: skip
@click.option("--detections", type=click.IntRange(1),
              help="Detections kept for each image.  [default: the model's, else 100]")  # fmt: skip
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
@click.option("--rotated-nms", type=click.Choice(["own", "odtk"]),
              help="Compare rotated boxes with their own angles, or both with that of the worse "
                   "one, as ODTK does.  [default: the model's, else own]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1),
              help="Number of workers.  [default: every GPU, else 1]")  # fmt: skip
@click.option("--threads-per-worker", type=click.IntRange(1),
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
@quiet_option
@odtk_flags
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def infer(debug: bool, **flags: Any) -> None:
    """Detect objects in images with a RetinaNet MODEL and write COCO JSON.

    MODEL is a checkpoint (.pth), an exported model (.onnx, .plan), or the folder of an engine set.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but some images failed.
    """
    guarded(lambda: _infer(flags), debug)


def _infer(flags: dict[str, Any]) -> int:
    from odtk_ray import api
    from odtk_ray.cli.job import check_places, in_job, output_in_run_dir
    from odtk_ray.cli.screen import Console, print_summary

    if not flags["output"]:
        del flags["output"]
        if in_job():
            flags |= {"output": output_in_run_dir(flags["run_dir"]), "run_dir": None}
    if in_job():
        check_places(flags)
    with Console(quiet=is_quiet()) as console:
        console.notes(leftover_notes())
        summary = api.infer(**flags | {"fit": size_of("--fit", flags["fit"])}, reporter=console)
    print_summary(summary, quiet=is_quiet())
    click.get_current_context().ensure_object(dict).update(summary.counts())
    if summary.failed == summary.images:
        return EXIT_FAILED
    return EXIT_PARTIAL if summary.failed > flags["max_failures"] else EXIT_OK
