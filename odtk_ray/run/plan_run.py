"""Plan a run: everything that determines its outputs is fixed before the first image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.cluster.gpu_trial import GpuTrial, try_gpus
from odtk_ray.cluster.image_sizes import fill_sizes
from odtk_ray.cluster.node_selection import NodeIds
from odtk_ray.config import InferConfig
from odtk_ray.datasets.classes import ClassMap
from odtk_ray.datasets.image_sources import Dataset
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.run.exported_size import say_exported_size
from odtk_ray.settings import RunSettings
from odtk_ray.shards.cut_shards import GPU_LAUNCHES, compiled_shapes, cut_shards, network_shapes
from odtk_ray.shards.run_plan import PlanOutputs, RunPlan

if TYPE_CHECKING:
    from odtk_ray.cluster.session import Fleet
    from odtk_ray.reporter import Reporter, RunReporter
    from odtk_ray.run.draft_run import RunDraft


def make_run_plan(
    draft: RunDraft,
    fleet: Fleet,
    reporter: RunReporter,
    load: EngineLoader,
    trial_nodes: Sequence[NodeIds] = ((),),
) -> RunPlan:
    """Plan a new run; needs Ray, to read missing image sizes and to try a GPU.

    Args:
        draft: the run as known so far.
        fleet: the workers.
        reporter: receives remarks about decisions, and what is being done.
        load: creates a worker's engine; no GPU is tried if the caller supplies engines.
        trial_nodes: the nodes on which to try it, one group for each kind of GPU.
    """
    config, dataset, classes = draft.config, draft.dataset, draft.classes
    if dataset is None or classes is None:
        raise ValueError("a resumed run has its plan already")
    pre = draft.settings.preprocessing
    launch_batch = config.launch_batch(fleet.workers, gpus=fleet.gpus)
    if config.batch and config.batch % fleet.workers:
        reporter.note(
            f"--batch {config.batch} over {fleet.workers} workers: launches of "
            f"{counted(launch_batch, 'image')}"
        )
    reporter.stage("reading the sizes of the images")
    records = fill_sizes(dataset.records, pre.exif)
    say_exported_size(config, pre, records, reporter)
    if draft.batches is not None:
        launch_batch = _limit_to_tensorrt_plan(config, draft.batches, launch_batch, fleet, reporter)
    settings = replace(
        draft.settings,
        rotated=draft.opened.model.rotated,
        launch_batch=launch_batch,
        threads=fleet.threads,
        device=fleet.device,
    )
    if is_onnx(config.model) or load.make is not None:
        pass  # ONNX Runtime has its own kernels, and its pictures come from Pillow
    elif fleet.gpus:
        reporter.stage("trying what the GPUs can do")
        load = replace(load, shapes=list(network_shapes(records, pre)))
        settings = _try_gpus(draft, settings, load, fleet, reporter, trial_nodes)
        settings = _choose_compiled(draft, settings, network_shapes(records, pre), fleet, reporter)
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
    draft: RunDraft,
    settings: RunSettings,
    load: EngineLoader,
    fleet: Fleet,
    reporter: Reporter,
    trial_nodes: Sequence[NodeIds],
) -> RunSettings:
    """Add to the settings what the workers' GPUs can do."""
    plan = draft.batches is not None
    trial = GpuTrial(load, draft.config.decoder, kernels_needed=plan)
    gpu = try_gpus(trial, settings, trial_nodes, reporter, draft.batches[0] if draft.batches else 1)
    for remark in gpu.remarks:
        reporter.warn(remark)
    return replace(
        settings, launch_batch=gpu.launch_batch, kernels=gpu.kernels, decoder=gpu.decoder
    )


def _choose_compiled(
    draft: RunDraft,
    settings: RunSettings,
    shapes: dict[tuple[int, int], int],
    fleet: Fleet,
    reporter: Reporter,
) -> RunSettings:
    """Add to the settings the network inputs that are worth compiling the network for."""
    if draft.batches is not None or not settings.kernels:
        return settings
    compiled = compiled_shapes(shapes, fleet.workers, settings.compile)
    if compiled:
        reporter.note(f"{len(compiled)} of {len(shapes)} input shapes run compiled (--compile)")
    return replace(settings, compiled=tuple(compiled))
