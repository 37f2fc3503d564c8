"""Plan a run: everything that determines its outputs is fixed before the first image."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.cluster.workers import Workers
from odtk_ray.config import InferConfig
from odtk_ray.datasets.classes import ClassMap
from odtk_ray.datasets.image_sources import Dataset
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.run.exported_size import say_exported_size
from odtk_ray.run.missing_sizes import fill_sizes
from odtk_ray.settings import RunSettings
from odtk_ray.shards.cut_shards import GPU_LAUNCHES, compiled_shapes, cut_shards, network_shapes
from odtk_ray.shards.run_plan import PlanOutputs, RunPlan
from odtk_ray.worker.gpu_trial import GpuTrial

if TYPE_CHECKING:
    from odtk_ray.reporter import Reporter, RunReporter
    from odtk_ray.run.draft_run import RunDraft
    from odtk_ray.worker.fleet import Fleet


def make_run_plan(
    draft: RunDraft, workers: Workers, reporter: RunReporter, load: EngineLoader
) -> RunPlan:
    """Plan a new run; needs the workers, to read missing image sizes and to try GPUs.

    Args:
        draft: the run as known so far.
        workers: the workers, which have been started.
        reporter: receives remarks about decisions, and what is being done.
        load: creates a worker's engine; no GPU is tried if the caller supplies engines.
    """
    config, dataset, classes = draft.inputs.config, draft.inputs.dataset, draft.classes
    if dataset is None or classes is None:
        raise ValueError("a resumed run has its plan already")
    fleet, model, pre = workers.fleet, draft.model, draft.model.settings.preprocessing
    launch_batch = config.launch_batch(fleet.workers, gpus=fleet.gpus)
    if config.batch and config.batch % fleet.workers:
        reporter.note(
            f"--batch {config.batch} over {fleet.workers} workers: launches of "
            f"{counted(launch_batch, 'image')}"
        )
    reporter.stage("reading the sizes of the images")
    records = fill_sizes(dataset.records, pre.exif, workers)
    say_exported_size(config, pre, records, reporter)
    if model.batches is not None:
        launch_batch = _limit_to_tensorrt_plan(config, model.batches, launch_batch, fleet, reporter)
    settings = replace(
        model.settings,
        rotated=model.opened.model.rotated,
        launch_batch=launch_batch,
        threads=fleet.threads,
        device=fleet.device,
    )
    if is_onnx(config.model) or load.make is not None:
        pass  # ONNX Runtime has its own kernels, and its pictures come from Pillow
    elif fleet.gpus:
        reporter.stage(f"loading the model on {counted(fleet.workers, 'GPU')}")
        shapes = network_shapes(records, pre)
        load = replace(load, settings=settings, shapes=list(shapes))
        settings = _try_gpus(draft, load, workers, reporter)
        settings = _choose_compiled(draft, settings, shapes, workers.fleet, reporter)
    if config.decoder and settings.decoder_kind != config.decoder:
        raise UsageError("--decoder gpu needs GPU workers with CUDA kernels and nvImageCodec")
    launches = GPU_LAUNCHES if fleet.gpus else 1
    shards = cut_shards(records, pre, settings.launch_batch, launches)
    return RunPlan(settings, _outputs(dataset, classes), records, shards)


def _outputs(dataset: Dataset, classes: ClassMap) -> PlanOutputs:
    """Return what the outputs need besides the settings, as plan.json stores it."""
    return {
        "category_ids": classes.ids,
        "category_names": classes.names,
        "positions": classes.positions,
        "categories": classes.categories,
        "has_truth": dataset.has_truth,
        "missing": dataset.missing,
    }


def _limit_to_tensorrt_plan(
    config: InferConfig, batches: tuple[int, int], wanted: int, fleet: Fleet, reporter: Reporter
) -> int:
    """Return the launch batch, limited to the batches that the TensorRT plans accept."""
    if not fleet.gpus:
        raise UsageError(
            f"{os.path.basename(config.model)} needs a GPU",
            "TensorRT plans run on the GPU that they were built for, and no worker has one",
            "run the .pth or .onnx file that it was built from",
        )
    least, greatest = batches
    batch = min(max(wanted, least), greatest)
    if batch != wanted and config.batch is not None:
        reporter.note(
            f"the TensorRT plan takes {least} to {greatest} images per launch: using {batch}"
        )
    return batch


def _try_gpus(
    draft: RunDraft, load: EngineLoader, workers: Workers, reporter: Reporter
) -> RunSettings:
    """Add to the settings what the workers' GPUs can do."""
    batches = draft.model.batches
    trial = GpuTrial(load, kernels_needed=batches is not None)
    gpu = workers.agree(trial, batches[0] if batches else 1)
    for remark in gpu.remarks:
        reporter.warn(remark)
    return replace(
        load.settings, launch_batch=gpu.launch_batch, kernels=gpu.kernels, decoder=gpu.decoder
    )


def _choose_compiled(
    draft: RunDraft,
    settings: RunSettings,
    shapes: dict[tuple[int, int], int],
    fleet: Fleet,
    reporter: Reporter,
) -> RunSettings:
    """Add to the settings the network inputs that are worth compiling the network for."""
    if draft.model.batches is not None or not settings.kernels:
        return settings
    compiled = compiled_shapes(shapes, fleet.workers, settings.compile)
    if compiled:
        reporter.note(f"{len(compiled)} of {len(shapes)} input shapes run compiled (--compile)")
    return replace(settings, compiled=tuple(compiled))
