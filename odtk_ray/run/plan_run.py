"""Plan a run: everything that determines its outputs is fixed before the first image."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.cluster.workers import Workers
from odtk_ray.config import InferConfig
from odtk_ray.datasets.classes import ClassMap
from odtk_ray.datasets.image_sources import Dataset
from odtk_ray.dispatch.agreement import GpuAbilities
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.errors import UsageError
from odtk_ray.images.resize import largest_input
from odtk_ray.plural import counted
from odtk_ray.run.auto_batch import measure_batch
from odtk_ray.run.exported_size import say_exported_size
from odtk_ray.run.missing_sizes import fill_sizes, workers_read_sizes
from odtk_ray.run.update_run import check_planned
from odtk_ray.settings import Preprocessing, RunSettings
from odtk_ray.shards.cut_shards import (
    GPU_LAUNCHES,
    Shard,
    cut_shards,
    cut_update,
    network_shapes,
)
from odtk_ray.shards.run_plan import PlanOutputs, RunPlan
from odtk_ray.worker.gpu_trial import GpuTrial

if TYPE_CHECKING:
    import pyarrow as pa

    from odtk_ray.reporter import Reporter, RunReporter
    from odtk_ray.run.draft_run import RunDraft, RunInputs
    from odtk_ray.worker.fleet import Fleet

# Proportion of the sides of a network input that a folder of pictures may well have.
_LONGEST = 2.0


def make_run_plan(
    draft: RunDraft,
    workers: Workers,
    reporter: RunReporter,
    load: EngineLoader,
    *,
    measure: bool = True,
) -> RunPlan:
    """Plan a new run; needs the workers, to read missing image sizes and to try GPUs.

    Args:
        draft: the run as known so far.
        workers: the workers, which have been started.
        reporter: receives remarks about decisions, and what is being done.
        load: creates a worker's engine; no GPU is tried if the caller supplies engines.
        measure: whether `--batch auto` measures; the least launch is planned otherwise.
    """
    config, dataset, classes = draft.inputs.config, draft.inputs.dataset, draft.classes
    if dataset is None or classes is None:
        raise ValueError("a resumed run has its plan already")
    fleet, pre = workers.fleet, draft.model.settings.preprocessing
    settings = _settle_launches(draft, fleet, reporter)
    load = replace(load, settings=settings)
    # ONNX Runtime has its own kernels, and its pictures come from Pillow.
    trying = fleet.gpus and not is_onnx(config.model) and load.make is None
    agree = None
    if trying and _tries_early(dataset.records, pre):
        agree = _begin_trial(draft, load, [largest_input(pre)[::-1]], workers)
    reporter.stage("reading the sizes of the images")
    records = fill_sizes(dataset.records, pre.exif, workers, reporter)
    say_exported_size(config, pre, records, reporter)
    shapes = network_shapes(records, pre)
    if trying:
        agree = agree or _begin_trial(draft, load, list(shapes), workers)
        reporter.stage(f"loading the model on {counted(fleet.workers, 'GPU')}")
        settings = add_abilities(settings, agree(), reporter)
    if config.decoder and settings.decoder_kind != config.decoder:
        raise UsageError("--decoder gpu needs GPU workers with CUDA kernels and nvImageCodec")
    measured, update = None, draft.inputs.update
    if config.batch == "auto" and update:
        settings = replace(settings, launch_batch=update.earlier.plan.settings.launch_batch)
    elif config.batch == "auto" and measure:
        reporter.stage("measuring launches (--batch auto)")
        load = replace(load, settings=settings)
        batch, measured = measure_batch(load, shapes, draft.model.batches, workers, reporter)
        settings = replace(settings, launch_batch=batch)
    plan = RunPlan(settings, _outputs(dataset, classes), records, [], measured)
    return replace(plan, shards=_cut(draft.inputs, plan, GPU_LAUNCHES if fleet.gpus else 1))


def _cut(inputs: RunInputs, plan: RunPlan, launches: int) -> list[Shard]:
    """Cut the records of a plan, once it is known that what an update takes over holds for it."""
    prep, launch_batch = plan.settings.preprocessing, plan.settings.launch_batch
    if (update := inputs.update) is None:
        return cut_shards(plan.records, prep, launch_batch, launches)
    check_planned(update, inputs.config, plan)
    return cut_update(plan.records, update.rows, prep, launch_batch, launches)


def _tries_early(records: pa.Table, prep: Preprocessing) -> bool:
    """Return whether GPUs try the largest input that is allowed, while sizes are being read.

    They do where that takes long, and where pictures come near that input: launches would be made
    smaller for nothing otherwise.
    """
    long, short = largest_input(prep)
    return workers_read_sizes(records) and (bool(prep.fit) or long <= _LONGEST * short)


def _settle_launches(draft: RunDraft, fleet: Fleet, reporter: Reporter) -> RunSettings:
    """Add to the settings what model and workers decide before a GPU is tried."""
    config, model = draft.inputs.config, draft.model
    launch_batch = config.launch_batch(fleet.workers, gpus=fleet.gpus)
    if isinstance(config.batch, int) and config.batch % fleet.workers:
        reporter.note(
            f"--batch {config.batch} over {fleet.workers} workers: launches of "
            f"{counted(launch_batch, 'image')}"
        )
    if model.batches is not None:
        launch_batch = limit_to_tensorrt_plan(config, model.batches, launch_batch, fleet, reporter)
    return replace(
        model.settings,
        rotated=model.opened.model.rotated,
        launch_batch=launch_batch,
        threads=fleet.threads,
        device=fleet.device,
        class_limits=draft.class_limits,
    )


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


def limit_to_tensorrt_plan(
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
    if batch != wanted and isinstance(config.batch, int):
        reporter.note(
            f"the TensorRT plan takes {least} to {greatest} images per launch: using {batch}"
        )
    return batch


def _begin_trial(
    draft: RunDraft, load: EngineLoader, shapes: list[tuple[int, int]], workers: Workers
) -> Callable[[], GpuAbilities]:
    """Begin to try the workers' GPUs with the largest of some network inputs (height, width)."""
    batches = draft.model.batches
    trial = GpuTrial(replace(load, shapes=shapes), kernels_needed=batches is not None)
    return workers.begin_trial(trial, batches[0] if batches else 1)


def add_abilities(settings: RunSettings, gpu: GpuAbilities, reporter: Reporter) -> RunSettings:
    """Add to the settings what the workers' GPUs can do."""
    for remark in gpu.remarks:
        reporter.warn(remark)
    return replace(
        settings, launch_batch=gpu.launch_batch, kernels=gpu.kernels, decoder=gpu.decoder
    )
