"""What a program calls: `infer`, `export` and `info`, with the command line's names and defaults.

    import odtk_ray

    summary = odtk_ray.infer("model.pth", images="photos", threshold=0.3)
    print(summary.images, summary.detections, summary.failed)

Remarks go to a `Reporter`, or to the logger `odtk_ray`. Heavy packages are imported by the calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from odtk_ray.config import DEFAULT_OUTPUT, CalibrationMethod, ExportConfig, InferConfig
from odtk_ray.reporter import LogReporter, Reporter, RunReporter
from odtk_ray.settings import AnchorGeneration, CompileMode, Decoder, ExifPolicy, RotatedNms

if TYPE_CHECKING:
    from odtk_ray.export.engine_set.export_set import BuiltSet
    from odtk_ray.export.onnx.export_onnx import Exported
    from odtk_ray.export.tensorrt.export_plan import BuiltPlan
    from odtk_ray.run.pipeline import Summary


def infer(
    model: str,
    *,
    images: str = ".",
    annotations: str | None = None,
    output: Sequence[str] = (DEFAULT_OUTPUT,),
    batch: int | None = None,
    resize: int | None = None,
    max_size: int | None = None,
    fit: tuple[int, int] | None = None,
    full_precision: bool = False,
    compile: CompileMode = "auto",
    decoder: Decoder | None = None,
    threshold: float | None = None,
    top_n: int | None = None,
    nms: float | None = None,
    detections: int | None = None,
    anchors: AnchorGeneration = "auto",
    tile: int | None = None,
    overlap: int = 0,
    rotated_bbox: bool = False,
    rotated_nms: RotatedNms | None = None,
    workers: int | None = None,
    threads_per_worker: int | None = None,
    address: str | None = None,
    gpu_type: Sequence[str] = (),
    wait_for_nodes: float | None = None,
    fallback: str | None = None,
    recursive: bool = False,
    limit: int | None = None,
    allow_missing: bool = False,
    exif: ExifPolicy = "ignore",
    max_pixels: int = 178_000_000,
    run_dir: str | None = None,
    resume: bool = False,
    keep_run: bool = False,
    draw: str | None = None,
    draw_threshold: float = 0.3,
    shard_timeout: float | None = None,
    trace: str | None = None,
    max_failures: int = 0,
    reporter: RunReporter | None = None,
) -> Summary:
    """Detect objects in images with a RetinaNet model, and write what was found.

    `InferConfig` says what each argument is, with units; None stands for the model's own value, or
    for what `odtk-ray infer --help` names.

    Args:
        model: path or URI of a checkpoint, an exported model, or an engine set.
        output: files to write, their format by extension (`InferConfig.outputs`).
        threads_per_worker: CPU threads of each worker (`InferConfig.threads`).
        gpu_type: GPUs to use (`InferConfig.gpu_types`).
        reporter: told about progress and decisions; None logs the remarks.

    Returns:
        what was done, and the figures against the ground truth, where there is some.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was started.
        OdtkError: the run cannot go on; what is committed stays and can be resumed.
    """
    from odtk_ray.run.pipeline import infer as run

    config = InferConfig(
        model,
        images=images,
        annotations=annotations,
        outputs=tuple(output),
        batch=batch,
        resize=resize,
        max_size=max_size,
        fit=fit,
        full_precision=full_precision,
        compile=compile,
        decoder=decoder,
        threshold=threshold,
        top_n=top_n,
        nms=nms,
        detections=detections,
        anchors=anchors,
        tile=tile,
        overlap=overlap,
        rotated_bbox=rotated_bbox,
        rotated_nms=rotated_nms,
        workers=workers,
        threads=threads_per_worker,
        address=address,
        gpu_types=tuple(gpu_type),
        wait_for_nodes=wait_for_nodes,
        fallback=fallback,
        recursive=recursive,
        limit=limit,
        allow_missing=allow_missing,
        exif=exif,
        max_pixels=max_pixels,
        run_dir=run_dir,
        resume=resume,
        keep_run=keep_run,
        draw=draw,
        draw_threshold=draw_threshold,
        shard_timeout=shard_timeout,
        trace=trace,
        max_failures=max_failures,
    )
    return run(config, reporter or LogReporter())


def export(
    model: str,
    output: str,
    *,
    size: tuple[int, int] | None = None,
    full_precision: bool = False,
    dynamic_batch_opts: tuple[int, int, int] | None = None,
    workspace: int | None = None,
    timing_cache: str | None = None,
    compute_capability: Sequence[str] = (),
    verbose: bool = False,
    rotated_bbox: bool = False,
    with_postprocess: bool = False,
    opset: int | None = None,
    int8: bool = False,
    calibration_images: str | None = None,
    calibration_batches: int | None = None,
    calibration_batch_size: int | None = None,
    calibration_table: str | None = None,
    calibration_annotations: str | None = None,
    calibration_method: CalibrationMethod | None = None,
    recalibrate: bool = False,
    int8_exclude: Sequence[str] = (),
    seed: int = 0,
    workers: int | None = None,
    address: str | None = None,
    gpu_type: Sequence[str] = (),
    wait_for_nodes: float | None = None,
    check_images: str | None = None,
    threshold: float | None = None,
    top_n: int | None = None,
    nms: float | None = None,
    detections: int | None = None,
    rotated_nms: RotatedNms | None = None,
    anchors: AnchorGeneration = "auto",
    reporter: Reporter | None = None,
) -> Exported | BuiltPlan | BuiltSet:
    """Export a checkpoint to ONNX, or build a TensorRT plan, or a set of plans, and check it.

    `ExportConfig` says what each argument is, with units; None stands for what
    `odtk-ray export --help` names.

    Args:
        model: path or URI of a checkpoint, or of an exported model for a plan.
        output: the .onnx or .plan file to write; with `gpu_type` the folder or URI of a set.
        dynamic_batch_opts: least, tuned and greatest batch of a plan (`ExportConfig.batches`).
        compute_capability: GPUs to build a plan for without having them.
        gpu_type: GPUs to build a set for.
        reporter: told about progress and decisions; None logs the remarks.

    Returns:
        what was written, and how far it is from what it was made of.

    Raises:
        UsageError: an argument, or a file that it names, cannot be used; nothing was written.
        OdtkError: the export failed; an earlier file of this name is still there.
    """
    from odtk_ray.artifacts.sidecar import is_tensorrt_plan

    config = ExportConfig(
        model,
        output,
        size=size,
        full_precision=full_precision,
        batches=dynamic_batch_opts,
        workspace=workspace,
        timing_cache=timing_cache,
        capabilities=tuple(compute_capability),
        verbose=verbose,
        rotated_bbox=rotated_bbox,
        with_postprocess=with_postprocess,
        opset=opset,
        int8=int8,
        calibration_images=calibration_images,
        calibration_batches=calibration_batches,
        calibration_batch_size=calibration_batch_size,
        calibration_table=calibration_table,
        calibration_annotations=calibration_annotations,
        calibration_method=calibration_method,
        recalibrate=recalibrate,
        int8_exclude=tuple(int8_exclude),
        seed=seed,
        workers=workers,
        address=address,
        gpu_types=tuple(gpu_type),
        wait_for_nodes=wait_for_nodes,
        check_images=check_images,
        threshold=threshold,
        top_n=top_n,
        nms=nms,
        detections=detections,
        rotated_nms=rotated_nms,
        anchors=anchors,
    )
    report = reporter or LogReporter()
    if config.gpu_types:
        from odtk_ray.export.engine_set import export_set

        return export_set.export_set(config, report)
    if is_tensorrt_plan(output):
        from odtk_ray.export.tensorrt.export_plan import export_plan  # needs no torch

        return export_plan(config, report)
    from odtk_ray.export.onnx.export_onnx import export as export_onnx

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
