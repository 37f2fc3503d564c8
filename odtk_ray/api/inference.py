"""`infer`, with the command line's names and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from odtk_ray.config import DEFAULT_OUTPUT, InferConfig, PlanPrecision, StrPath, settings_of
from odtk_ray.reporter import LogReporter, RunReporter
from odtk_ray.settings import (
    AnchorGeneration,
    Batch,
    Decoder,
    ExifPolicy,
    RotatedNms,
)

if TYPE_CHECKING:
    from odtk_ray.run.summary import Summary


def infer(
    model: StrPath,
    *,
    images: StrPath = ".",
    annotations: StrPath | None = None,
    recursive: bool = False,
    limit: int | None = None,
    allow_missing: bool = False,
    exif: ExifPolicy = "ignore",
    max_pixels: int = 178_000_000,
    update: StrPath | None = None,
    resize: int | None = None,
    max_size: int | None = None,
    fit: tuple[int, int] | None = None,
    tile: int | None = None,
    overlap: int = 0,
    anchors: AnchorGeneration = "auto",
    classes: StrPath | None = None,
    rotated_bbox: bool = False,
    full_precision: bool = False,
    precision: PlanPrecision | None = None,
    threshold: float | None = None,
    top_n: int | None = None,
    nms: float | None = None,
    detections: int | None = None,
    rotated_nms: RotatedNms | None = None,
    thresholds: StrPath | None = None,
    only_classes: Sequence[str] = (),
    output: StrPath | Sequence[StrPath] = (DEFAULT_OUTPUT,),
    draw: StrPath | None = None,
    draw_threshold: float = 0.3,
    draw_truth: bool = False,
    line_width: int | None = None,
    crops: StrPath | None = None,
    crop_margin: int = 0,
    report: StrPath | None = None,
    trace: StrPath | None = None,
    batch: Batch | None = None,
    workers: int | None = None,
    threads_per_worker: int | None = None,
    local: bool = False,
    decoder: Decoder | None = None,
    address: str | None = None,
    metrics_port: int | None = None,
    gpu_type: Sequence[str] = (),
    min_workers: int | None = None,
    exclude_node: Sequence[str] = (),
    wait_for_nodes: float | None = None,
    fallback: StrPath | None = None,
    run_dir: StrPath | None = None,
    resume: bool = False,
    keep_run: bool = False,
    max_failures: int = 0,
    shard_timeout: float | None = None,
    reporter: RunReporter | None = None,
) -> Summary:
    """Detect objects in images with a RetinaNet model, and write what was found.

    Args:
        model: Path or URI of a checkpoint (.pth), of an exported model (.onnx, .plan), or of the
            folder of an engine set.
        images: Folder, file, glob, list of paths (.txt, one a line) or URI; with `annotations` the
            folder or URI of its files.
        annotations: COCO file that names the images; the detections are scored if it has ground
            truth.
        recursive: Search the sub-folders of `images` too.
        limit: Process only the first N images.
        allow_missing: Leave out annotated images whose file is missing.
        exif: Whether pictures are turned as their EXIF orientation says; ODTK and COCO's
            annotations ignore it.
        max_pixels: Pictures with more pixels fail without being decoded.
        update: Output, or run folder, of an earlier run with `keep_run`: detect only in images that
            are new or have changed since, and take over the other results. Default: detect in all
            images.
        resize: Length in pixels that the short side of a picture is scaled to. Default: the
            model's, else 800.
        max_size: Limit in pixels of the long side; it wins over `resize`. Default: the model's,
            else 1333.
        fit: Height and width in pixels, multiples of 32, of an input that pictures are scaled to
            just fit into, as those of exported models are; instead of `resize` and `max_size`.
        tile: Cut pictures into windows of this side in pixels, each of which is then scaled as a
            picture would be; `detections` limits a window.
        overlap: Width in pixels of what neighbouring windows share.
        anchors: Anchors that a checkpoint was trained with: legacy are those of ODTK before March
            2020; auto recognises them.
        classes: File with the names of the model's classes, one a line. Default: the model's.
        rotated_bbox: Require a model of rotated boxes; not needed, since its file says which boxes
            it has.
        full_precision: Compute in FP32 without TF32 on GPUs, as CPUs always do. Default: FP16 on
            GPUs.
        precision: Run the plans of this precision of an engine set; `fit`, `resize` and `max_size`
            choose among its sizes. Default: fp16 where the set has it, else fp32.
        threshold: Scores must be greater than this. Default: the model's, else 0.05.
        top_n: Candidates kept for each pyramid level of an image. Default: the model's, else 1000.
        nms: IoU above which the worse of two boxes of a class is dropped. Default: the model's,
            else 0.5.
        detections: Detections kept for each image. Default: the model's, else 100.
        rotated_nms: Angles that rotated boxes are compared with: each box's own, or, as ODTK does
            by mistake, that of the worse box for both. Default: the model's, else own.
        thresholds: File with a threshold for each class, which evaluate writes; applied to what
            `threshold` and `detections` keep.
        only_classes: Keep only detections of this class, by name or category id; applied to what
            `detections` keeps.
        output: Files to write, the format by extension: .json (as ODTK), .results.json (for
            pycocotools' loadRes), .jsonl, .csv, .parquet.
        draw: Folder for the pictures with boxes, labels and scores; those beyond `max_pixels` are
            drawn smaller.
        draw_threshold: Lowest score that is drawn or cut out.
        draw_truth: Draw the objects of `annotations` too, in dashes.
        line_width: Width of the lines that are drawn. Default: grows with the picture.
        crops: Folder for a picture of each detection, DIR/IMAGE/NUMBER-CLASS.
        crop_margin: Width of what crops have around their boxes.
        report: HTML file to write a report to, with plots, tables and pictures.
        trace: File for a timeline of the run, for chrome://tracing or Perfetto.
        batch: Images at once over all workers, among which it is divided; auto: what is measured to
            be fast when the run starts. Default: 8 a GPU, 2 a CPU worker.
        workers: Number of workers. Default: one a GPU; else 1, or all of a cluster.
        threads_per_worker: CPU threads of each worker. Default: physical cores / workers.
        local: Run in this process, without Ray: one worker, on the first GPU or on the CPU.
        decoder: What decodes JPEGs. Default: the GPU where it can.
        address: Address of the Ray cluster, or auto. Default: RAY_ADDRESS, else Ray is started
            here.
        metrics_port: Port where Prometheus finds the metrics of a run that starts Ray here; it
            starts seconds later. Default: no metrics.
        gpu_type: GPUs to use: by Ray's type (H100), by name ('NVIDIA H100 80GB HBM3'), or all.
        min_workers: With `wait_for_nodes`: ask an autoscaler for this many workers at once, and
            start when the first is there. Default: what is there.
        exclude_node: Nodes to leave out, by address, host name or Ray's id.
        wait_for_nodes: Wait up to this many seconds for an autoscaler to start a node with the GPUs
            of `gpu_type`, or any. Default: do not wait.
        fallback: Checkpoint that GPUs run for which an engine set has no plan. Default: leave these
            GPUs out.
        run_dir: Folder or URI for the state of the run. Default: the first output's name and .run.
        resume: Continue the run in `run_dir`.
        keep_run: Keep `run_dir` after success, as `update` needs it and does.
        max_failures: Exit with 0 when at most N images failed; nothing else changes.
        shard_timeout: Replace a worker that finishes no image for this many seconds. Default: 10
            median shards, 120 at least.
        reporter: Told about progress and decisions; None logs the remarks.

    Returns:
        what was done, and the figures against the ground truth, where there is some.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was started.
        OdtkError: the run cannot go on; what is committed stays and can be resumed.
    """
    config = InferConfig(**settings_of(InferConfig, locals()))
    from odtk_ray.run.pipeline import infer as run

    return run(config, reporter or LogReporter())
