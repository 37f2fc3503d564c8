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

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odtk_ray.api.evaluation import compare, evaluate
from odtk_ray.api.inference import infer
from odtk_ray.api.loading import load
from odtk_ray.config import CalibrationMethod, ExportConfig, PlanPrecision, StrPath, settings_of
from odtk_ray.reporter import LogReporter, Reporter
from odtk_ray.settings import AnchorGeneration, RotatedNms

if TYPE_CHECKING:
    from odtk_ray.exports.engine_set.export_set import BuiltSet
    from odtk_ray.exports.onnx.export_onnx import Exported
    from odtk_ray.exports.tensorrt.export_plan import BuiltPlan
    from odtk_ray.exports.triton.export_triton import TritonModel
    from odtk_ray.shards.run_status import RunStatus

__all__ = ["compare", "evaluate", "export", "infer", "info", "load", "status"]


def export(
    model: StrPath,
    output: StrPath,
    *,
    size: tuple[int, ...] | None = None,
    anchors: AnchorGeneration = "auto",
    classes: StrPath | None = None,
    rotated_bbox: bool = False,
    with_postprocess: bool = False,
    plugin: bool = False,
    half: bool = False,
    std_in_graph: bool = False,
    opset: int | None = None,
    full_precision: bool = False,
    precision: Sequence[PlanPrecision] = (),
    dynamic_batch_opts: tuple[int, int, int] | None = None,
    workspace: int | None = None,
    timing_cache: StrPath | None = None,
    compute_capability: Sequence[str] = (),
    verbose: bool = False,
    int8: bool = False,
    calibration_images: StrPath | None = None,
    calibration_batches: int | None = None,
    calibration_batch_size: int | None = None,
    calibration_table: StrPath | None = None,
    calibration_method: CalibrationMethod | None = None,
    recalibrate: bool = False,
    int8_exclude: Sequence[str] = (),
    seed: int = 0,
    threshold: float | None = None,
    top_n: int | None = None,
    nms: float | None = None,
    detections: int | None = None,
    rotated_nms: RotatedNms | None = None,
    check_images: StrPath | None = None,
    calibration_annotations: StrPath | None = None,
    triton: str | None = None,
    workers: int | None = None,
    address: str | None = None,
    gpu_type: Sequence[str] = (),
    wait_for_nodes: float | None = None,
    reporter: Reporter | None = None,
) -> Exported | BuiltPlan | BuiltSet | TritonModel:
    """Export a checkpoint to ONNX, or build a TensorRT plan, or a set of plans, and check it.

    The values of post-processing, from `threshold` to `rotated_nms`, are stored as the defaults of
    what is exported.

    Args:
        model: Path or URI of a checkpoint (.pth), or for plans of an .onnx file.
        output: File to write, .onnx or .plan; with `gpu_type` the folder or URI of an engine set,
            with `triton` that of a model repository.
        size: Height and width in pixels of the network input, multiples of 32; an engine set may
            have several. Default: 1280 1280.
        anchors: Anchors that a checkpoint was trained with: legacy are those of ODTK before March
            2020; auto recognises them.
        classes: File with the names of the model's classes, one a line. Default: the model's.
        rotated_bbox: Require a model of rotated boxes; not needed, since its file says which boxes
            it has.
        with_postprocess: End the graph in scores, boxes and classes, not in the heads.
        plugin: What `with_postprocess` adds is computed by libodtk_plugin.so, in TensorRT only.
        half: Write an ONNX file in FP16, of opset 19, for TensorRT 10.12 and newer; with `int8`
            what is not quantised is FP16. Default: FP32.
        std_in_graph: Divide by the standard deviation in the graph: the input is RGB in [0, 1]
            minus the mean, as DeepStream makes it.
        opset: Version of ONNX's operators, 13 to 17. Default: 17.
        full_precision: Build plans in FP32 without TF32. Default: FP16.
        precision: Precision of plans, instead of `full_precision` and `int8`; an engine set may
            have several. Default: fp16.
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
        triton: Write a model of this name, which ends in detections, into a model repository of
            Triton, OUTPUT.
        workers: Calibrate on this many Ray workers. Default: in this process.
        address: Address of the Ray cluster to calibrate and build engine sets on, or auto.
        gpu_type: Build an engine set, with a plan for each of these GPUs: by Ray's type (H100), by
            name ('NVIDIA H100 80GB HBM3'), or all.
        wait_for_nodes: Wait up to this many seconds for an autoscaler to start a node with the GPUs
            of `gpu_type`, or any. Default: do not wait.
        reporter: Told about progress and decisions; None logs the remarks.

    Returns:
        what was written, and how far it is from what it was made of.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was written.
        OdtkError: the export failed; an earlier file of this name is still there.
    """
    config, report = ExportConfig(**settings_of(ExportConfig, locals())), reporter or LogReporter()
    from odtk_ray.artifacts.sidecar import is_tensorrt_plan

    if config.gpu_type:
        from odtk_ray.exports.engine_set import export_set

        return export_set.export_set(config, report)
    if config.triton is not None:
        from odtk_ray.exports.triton.export_triton import export_triton

        return export_triton(config, report)
    if is_tensorrt_plan(config.output):
        from odtk_ray.exports.tensorrt.export_plan import export_plan  # needs no torch

        return export_plan(config.variants()[0], report)
    from odtk_ray.exports.onnx.export_onnx import export as export_onnx

    return export_onnx(config, report)


def info(model: StrPath, *, anchors: AnchorGeneration = "auto") -> list[tuple[str, str]]:
    """Say what a checkpoint, exported model or engine set is, as (name, text) rows for people.

    Args:
        model: path or URI.
        anchors: which generation of ODTK's anchors a checkpoint was trained with.

    Raises:
        UsageError: it cannot be used.
    """
    from odtk_ray.model.describe_model import describe_model

    return describe_model(os.fspath(model), anchors)


def status(run_dir: StrPath) -> RunStatus:
    """Say how far the run in a folder or URI is; nothing is written, so it may go on meanwhile.

    Raises:
        OdtkError: it cannot be read now, or, as a UsageError, is no run folder.
    """
    from odtk_ray.shards.run_status import read_status

    return read_status(os.fspath(run_dir))
