"""Opens a model in this process, for programs and benchmarks: no workers, no plan, no run folder.

The engine is the one that a worker of a run would make here, with the settings of such a run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from odtk_ray.artifacts.engine_set import is_engine_set, read_engine_set
from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.cluster.local_workers import LocalWorkers
from odtk_ray.config import InferConfig
from odtk_ray.detect.detector import Detector
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.local_gpus import inspect_machine, list_gpus
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.model.open_model import Model
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.run.auto_batch import measure_batch
from odtk_ray.run.draft_run import RunDraft, RunInputs, open_run_model
from odtk_ray.run.plan_run import add_abilities, limit_to_tensorrt_plan
from odtk_ray.settings import Device, RunSettings
from odtk_ray.worker.fleet import Fleet, physical_cores
from odtk_ray.worker.gpu_trial import is_out_of_memory
from odtk_ray.worker.warm_up import Needs, WarmUp

# Threads of a worker with a GPU, which decode what it does not.
_GPU_THREADS = 4


@dataclass(frozen=True)
class OpenDetector:
    """A model that is ready to detect in this process.

    Attributes:
        model: a checkpoint without its weights, or what an exported file says of itself.
        settings: those that a run of one worker here would have.
        detector: reads files and detects in them; whoever opened it closes it.
    """

    model: Model
    settings: RunSettings
    detector: Detector


def open_detector(config: InferConfig, device: Device | None, reporter: Reporter) -> OpenDetector:
    """Open a model, and make its engine.

    Args:
        config: the model, what it does to pictures and detections, and `batch` and
            `threads_per_worker`; images, outputs and cluster are ignored.
        device: where it computes; None takes a GPU where there is one.
        reporter: receives remarks about decisions.

    Raises:
        UsageError: the model or the device cannot be used, or a setting contradicts the model.
        OdtkError: the engine cannot run here.
    """
    engine_set = read_engine_set(config.model) if is_engine_set(config.model) else None
    inputs = RunInputs(config, "", engine_set)
    model = open_run_model(inputs)
    fleet = _here(config, device)
    batch = config.launch_batch(1, gpus=fleet.gpus)
    if model.batches is not None:
        batch = limit_to_tensorrt_plan(config, model.batches, batch, fleet, reporter)
    settings = replace(
        model.settings,
        rotated=model.opened.model.rotated,
        launch_batch=batch,
        threads=fleet.threads,
        device=fleet.device,
    )
    load = replace(RunDraft(inputs, model).loader(None, inspect_machine), settings=settings)
    # ONNX Runtime has its own kernels, and its pictures come from Pillow.
    trying = fleet.gpus and not is_onnx(config.model)
    with (
        _tried_gpu(config, load, model.batches is not None, reporter)
        if trying
        else contextlib.nullcontext(load)
    ) as tried:
        load = tried
        if config.batch == "auto":
            with contextlib.closing(LocalWorkers(fleet, Needs())) as workers:
                batch, _ = measure_batch(load, {}, model.batches, workers, reporter)
            load = load.with_launch(batch)
        detector = _make(load)
    return OpenDetector(model.opened.model, load.settings, detector)


def _here(config: InferConfig, device: Device | None) -> Fleet:
    """Return this process as the one worker."""
    there = bool(list_gpus())
    if device == "gpu" and not there:
        raise UsageError(
            "there is no GPU here",
            "CUDA's driver shows none",
            "compute on the CPU, or see nvidia-smi",
        )
    gpus = there and device != "cpu"
    threads = config.threads_per_worker or (_GPU_THREADS if gpus else physical_cores())
    return Fleet(1, gpus, threads)


@contextlib.contextmanager
def _tried_gpu(
    config: InferConfig, load: EngineLoader, kernels_needed: bool, reporter: Reporter
) -> Iterator[EngineLoader]:
    """Find what the GPU can do, and hold it until the engine is made, as workers do."""
    warm_up = WarmUp(Needs(gpu=True, decoder=config.decoder))
    try:
        found = warm_up.abilities()
        if kernels_needed and not found.kernels:
            raise OdtkError(
                "TensorRT plans need the CUDA kernels", found.remarks[0], "pip install pycuda"
            )
        found = replace(found, launch_batch=load.settings.launch_batch)
        yield replace(load, settings=add_abilities(load.settings, found, reporter))
    finally:
        warm_up.end()


def _make(load: EngineLoader) -> Detector:
    settings = load.settings
    try:
        return Detector(
            load,
            settings.preprocessing,
            launch_batch=settings.launch_batch,
            threads=settings.threads,
        )
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise no_room(settings.launch_batch) from error


def no_room(batch: int) -> OdtkError:
    """Create the error for a launch that does not fit in the GPU's memory."""
    return OdtkError(
        "the GPU's memory is too small",
        f"{counted(batch, 'picture')} at once do not fit",
        "give a smaller batch, or smaller pictures",
    )
