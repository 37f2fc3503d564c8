"""What a program calls: the verbs, with the command line's names and defaults.

    >>> import odtk_ray
    >>> inputs = {"images": "photographs", "annotations": "trees.json", "resize": 1000}
    >>> summary = odtk_ray.infer("trees.pth", **inputs, local=True)
    >>> print(summary.images, summary.failed, summary.files)
    2 0 ['detections.json', 'detections.metrics.json']
    >>> exported = odtk_ray.export("trees.pth", "trees.onnx", size=(256, 320))
    >>> dict(odtk_ray.info(exported.path))["input"]
    '256x320 (height x width)'

Remarks go to a `Reporter`, or to the logger `odtk_ray`. Heavy packages are imported by the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from odtk_ray.api.evaluation import compare, evaluate
from odtk_ray.api.loading import load
from odtk_ray.config import (
    DEFAULT_OUTPUT,
    CalibrationMethod,
    ExportConfig,
    InferConfig,
    settings_of,
)
from odtk_ray.reporter import LogReporter, Reporter, RunReporter
from odtk_ray.settings import AnchorGeneration, CompileMode, Decoder, ExifPolicy, RotatedNms

if TYPE_CHECKING:
    from odtk_ray.exports.engine_set.export_set import BuiltSet
    from odtk_ray.exports.onnx.export_onnx import Exported
    from odtk_ray.exports.tensorrt.export_plan import BuiltPlan
    from odtk_ray.run.pipeline import Summary

__all__ = ["compare", "evaluate", "export", "infer", "info", "load"]


def infer(
    model: str,
    *,
    images: str = ".",
    annotations: str | None = None,
    recursive: bool = False,
    limit: int | None = None,
    allow_missing: bool = False,
    exif: ExifPolicy = "ignore",
    max_pixels: int = 178_000_000,
    resize: int | None = None,
    max_size: int | None = None,
    fit: tuple[int, int] | None = None,
    tile: int | None = None,
    overlap: int = 0,
    anchors: AnchorGeneration = "auto",
    rotated_bbox: bool = False,
    full_precision: bool = False,
    compile: CompileMode = "auto",
    threshold: float | None = None,
    top_n: int | None = None,
    nms: float | None = None,
    detections: int | None = None,
    rotated_nms: RotatedNms | None = None,
    thresholds: str | None = None,
    only_classes: Sequence[str] = (),
    output: Sequence[str] = (DEFAULT_OUTPUT,),
    draw: str | None = None,
    draw_threshold: float = 0.3,
    trace: str | None = None,
    batch: int | None = None,
    workers: int | None = None,
    threads_per_worker: int | None = None,
    local: bool = False,
    decoder: Decoder | None = None,
    address: str | None = None,
    metrics_port: int | None = None,
    gpu_type: Sequence[str] = (),
    wait_for_nodes: float | None = None,
    fallback: str | None = None,
    run_dir: str | None = None,
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
        rotated_bbox: Require a model of rotated boxes; not needed, since its file says which boxes
            it has.
        full_precision: Compute in FP32 without TF32 on GPUs, as CPUs always do. Default: FP16 on
            GPUs.
        compile: Run networks compiled by torch.compile on GPUs; auto: for input shapes that enough
            images share, 16,000 for each GPU.
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
        draw_threshold: Lowest score that is drawn.
        trace: File for a timeline of the run, for chrome://tracing or Perfetto.
        batch: Images at once over all workers, among which it is divided. Default: 8 a GPU, 2 a CPU
            worker.
        workers: Number of workers. Default: one a GPU; 1 without GPUs.
        threads_per_worker: CPU threads of each worker. Default: physical cores / workers.
        local: Run in this process, without Ray: one worker, on the first GPU or on the CPU.
        decoder: What decodes JPEGs. Default: the GPU where it can.
        address: Address of the Ray cluster, or auto. Default: RAY_ADDRESS, else Ray is started
            here.
        metrics_port: Port where Prometheus finds the metrics of a run that starts Ray here; it
            starts seconds later. Default: no metrics.
        gpu_type: GPUs to use: by Ray's type (H100), by name ('NVIDIA H100 80GB HBM3'), or all.
        wait_for_nodes: Wait up to this many seconds for an autoscaler to start nodes with the GPUs
            of `gpu_type`. Default: do not wait.
        fallback: Checkpoint that GPUs run for which an engine set has no plan. Default: leave these
            GPUs out.
        run_dir: Folder or URI for the state of the run. Default: the first output's name and .run.
        resume: Continue the run in `run_dir`.
        keep_run: Keep `run_dir` after success.
        max_failures: Exit with 0 when at most N images failed.
        shard_timeout: Replace a worker that finishes no image for this many seconds. Default: 10
            median shards, 120 at least.
        reporter: Told about progress and decisions; None logs the remarks.

    Returns:
        what was done, and the figures against the ground truth, where there is some.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was started.
        OdtkError: the run cannot go on; what is committed stays and can be resumed.
    """
    config = InferConfig(**settings_of(locals()))
    from odtk_ray.run.pipeline import infer as run

    return run(config, reporter or LogReporter())


def export(
    model: str,
    output: str,
    *,
    size: tuple[int, int] | None = None,
    anchors: AnchorGeneration = "auto",
    rotated_bbox: bool = False,
    with_postprocess: bool = False,
    half: bool = False,
    opset: int | None = None,
    full_precision: bool = False,
    dynamic_batch_opts: tuple[int, int, int] | None = None,
    workspace: int | None = None,
    timing_cache: str | None = None,
    compute_capability: Sequence[str] = (),
    verbose: bool = False,
    int8: bool = False,
    calibration_images: str | None = None,
    calibration_batches: int | None = None,
    calibration_batch_size: int | None = None,
    calibration_table: str | None = None,
    calibration_method: CalibrationMethod | None = None,
    recalibrate: bool = False,
    int8_exclude: Sequence[str] = (),
    seed: int = 0,
    threshold: float | None = None,
    top_n: int | None = None,
    nms: float | None = None,
    detections: int | None = None,
    rotated_nms: RotatedNms | None = None,
    check_images: str | None = None,
    calibration_annotations: str | None = None,
    workers: int | None = None,
    address: str | None = None,
    gpu_type: Sequence[str] = (),
    wait_for_nodes: float | None = None,
    reporter: Reporter | None = None,
) -> Exported | BuiltPlan | BuiltSet:
    """Export a checkpoint to ONNX, or build a TensorRT plan, or a set of plans, and check it.

    The values of post-processing, from `threshold` to `rotated_nms`, are stored as the defaults of
    what is exported.

    Args:
        model: Path or URI of a checkpoint (.pth), or for plans of an .onnx file.
        output: File to write, .onnx or .plan; with `gpu_type` the folder or URI of an engine set.
        size: Height and width in pixels of the network input, multiples of 32. Default: 1280 1280.
        anchors: Anchors that a checkpoint was trained with: legacy are those of ODTK before March
            2020; auto recognises them.
        rotated_bbox: Require a model of rotated boxes; not needed, since its file says which boxes
            it has.
        with_postprocess: End the graph in scores, boxes and classes, not in the heads.
        half: Write an ONNX file in FP16, of opset 19, for TensorRT 10.12 and newer; with `int8`
            what is not quantised is FP16. Default: FP32.
        opset: Version of ONNX's operators, 13 to 17. Default: 17.
        full_precision: Build plans in FP32 without TF32. Default: FP16.
        dynamic_batch_opts: Least, tuned and greatest batch of a plan. Default: 1 1 16.
        workspace: Memory in MiB that a layer of a plan may use. Default: TensorRT's.
        timing_cache: File of timings that builds of plans share.
        compute_capability: Build for GPUs of this compute capability without having one, with
            tensorrt-rtx.
        verbose: Pass on everything that TensorRT says.
        int8: Quantise the network.
        calibration_images: Folder, file, glob or list of images to measure ranges on.
        calibration_batches: Number of batches of them, drawn at random. Default: 10.
        calibration_batch_size: Images in a batch of them. Default: 2.
        calibration_table: File with ranges: read if it is there, written otherwise.
        calibration_method: How ranges are chosen. Default: that of the table, else entropy.
        recalibrate: Measure anew, and replace `calibration_table`.
        int8_exclude: Operations that are not quantised, such as 'box_head.8*'.
        seed: Seed of the random choice of calibration images.
        threshold: Scores must be greater than this. Default: 0.05.
        top_n: Candidates kept for each pyramid level of an image. Default: 1000.
        nms: IoU above which the worse of two boxes of a class is dropped. Default: 0.5.
        detections: Detections kept for each image. Default: 100.
        rotated_nms: Angles that rotated boxes are compared with: each box's own, or, as ODTK does
            by mistake, that of the worse box for both. Default: own.
        check_images: Folder, file, glob or list of images that the written model is compared on.
            Default: those of the calibration, else made-up ones.
        calibration_annotations: COCO file of the images of `calibration_images` or `check_images`:
            compare AP as well.
        workers: Calibrate on this many Ray workers. Default: in this process.
        address: Address of the Ray cluster to calibrate and build engine sets on, or auto.
        gpu_type: Build an engine set, with a plan for each of these GPUs: by Ray's type (H100), by
            name ('NVIDIA H100 80GB HBM3'), or all.
        wait_for_nodes: Wait up to this many seconds for an autoscaler to start nodes with the GPUs
            of `gpu_type`. Default: do not wait.
        reporter: Told about progress and decisions; None logs the remarks.

    Returns:
        what was written, and how far it is from what it was made of.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was written.
        OdtkError: the export failed; an earlier file of this name is still there.
    """
    config = ExportConfig(**settings_of(locals()))
    from odtk_ray.artifacts.sidecar import is_tensorrt_plan

    report = reporter or LogReporter()
    if config.gpu_type:
        from odtk_ray.exports.engine_set import export_set

        return export_set.export_set(config, report)
    if is_tensorrt_plan(output):
        from odtk_ray.exports.tensorrt.export_plan import export_plan  # needs no torch

        return export_plan(config, report)
    from odtk_ray.exports.onnx.export_onnx import export as export_onnx

    return export_onnx(config, report)


def info(model: str, *, anchors: AnchorGeneration = "auto") -> list[tuple[str, str]]:
    """Say what a checkpoint, exported model or engine set is, as (name, text) rows for people.

    Args:
        model: path or URI.
        anchors: which generation of ODTK's anchors a checkpoint was trained with.

    Raises:
        UsageError: it cannot be used.
    """
    from odtk_ray.model.describe_model import describe_model

    return describe_model(model, anchors)
