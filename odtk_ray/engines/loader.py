"""The one way to create a worker's engine: from a run's model and settings, in its process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import EngineSet, is_engine_set, plan_path
from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, read_sidecar
from odtk_ray.engines.local_gpus import Gpu, InspectMachine, Machine, inspect_machine
from odtk_ray.engines.protocol import Engine, EngineFactory
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.moments import Moment, note_moment
from odtk_ray.settings import AnchorGeneration, RunSettings

if TYPE_CHECKING:
    from odtk_ray.engines.cuda import CudaEngine
    from odtk_ray.engines.tensorrt import TensorRTEngine
    from odtk_ray.images.nvimagecodec import JpegKind


class IncompatibleGpu(OdtkError):  # noqa: N818 - a state of the machine, not a failure
    """A GPU that cannot do its part of a run; the others go on without it.

    Attributes:
        node: Ray's id of its node; set by the worker.
    """

    node = ""


class FullGpu(IncompatibleGpu):
    """A GPU that could do its part, had it more free memory; others of its node may have."""


@dataclass(frozen=True)
class EngineLoader:
    """Creates the engine of a run; it is pickled, so it holds no tensors.

    Attributes:
        model: path or URI of the checkpoint, of the exported model, or of an engine set.
        sha256: of the driver's model; the worker's must be the same.
        anchors: which generation of ODTK's anchors a checkpoint was trained with.
        settings: of the run.
        shapes: (height, width) of the planned network inputs, largest first.
        engine_set: the plans, where the model is an engine set.
        fallback: path or URI of the set's checkpoint, for GPUs that it has no plan for.
        inspect: finds the GPU of the process, if its kind matters.
        make: creates the engine instead, from the path of the model for this GPU.
    """

    model: str
    sha256: str
    anchors: AnchorGeneration
    settings: RunSettings
    shapes: Sequence[tuple[int, int]] = ()
    engine_set: EngineSet | None = None
    fallback: str | None = None
    inspect: InspectMachine = inspect_machine
    make: EngineFactory | None = None

    def with_launch(self, batch: int) -> EngineLoader:
        """Return the loader of an engine with another launch batch."""
        return replace(self, settings=replace(self.settings, launch_batch=batch))

    def __call__(self) -> Engine[Any]:
        """Load the model into the engine that the settings name.

        Raises:
            IncompatibleGpu: an engine set has no plan for this GPU, or the GPU cannot run the plan.
            UsageError: the model is another, cannot be read, or is a plan for another machine.
            OdtkError: this worker lacks software or hardware that the run was planned with.
        """
        if self.engine_set is None:
            if self.make is not None:
                return self.make(self.model, self.settings)
            with model_file(self.model) as local:
                return self._load(local, self.sha256)
        model, sha256 = self._choose(self.engine_set, self.inspect())
        with model_file(model) as local:
            if is_tensorrt_plan(local):
                read_sidecar(local, sha256)
            if self.make is not None:
                return self.make(local, self.settings)
            try:
                return self._load(local, sha256)
            except UsageError:  # about the files, not the GPU
                raise
            except OdtkError as error:
                raise IncompatibleGpu(error.what, error.why, error.hint) from error

    def _choose(self, engine_set: EngineSet, machine: Machine) -> tuple[str, str]:
        """Choose a set's model for a machine; return its path or URI, and its SHA-256."""
        gpu = machine.gpus[0] if machine.gpus else None
        key = None if gpu is None else engine_set.find(gpu, machine.tensorrt)
        if key is not None:
            return plan_path(self.model, key), engine_set.engines[key].plan_sha256
        if gpu is None or self.fallback is None:
            raise no_plan_error(self.model, gpu, machine)
        return storage.absolute(self.fallback), engine_set.model.checkpoint

    def _load(self, path: str, sha256: str) -> Engine[Any]:
        if is_onnx(path):
            return self._onnx_engine(path, sha256)
        if is_tensorrt_plan(path) or self.settings.kernels:
            return self._gpu_engine(path, sha256)
        from odtk_ray.engines.pytorch import PyTorchEngine
        from odtk_ray.model.checkpoint import load_checkpoint

        note_moment(Moment.IMPORTED)
        return PyTorchEngine(
            load_checkpoint(path, self.anchors, expect=sha256),
            self.settings.postprocessing,
            prep=self.settings.preprocessing,
            launch_batch=self.settings.launch_batch,
            threads=self.settings.threads,
            full_precision=self.settings.full_precision,
            device="cuda" if self.settings.device == "gpu" else "cpu",
        )

    def _onnx_engine(self, path: str, sha256: str) -> Engine[Any]:
        from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(
            path,
            self.settings.postprocessing,
            prep=self.settings.preprocessing,
            launch_batch=self.settings.launch_batch,
            threads=self.settings.threads,
            gpu=self.settings.device == "gpu",
            expect=sha256,
        )

    def _gpu_engine(self, path: str, sha256: str) -> Engine[Any]:
        """Create an engine with our kernels, and check that it decodes images as planned."""
        from cuda_ops import CudaUnavailable
        from odtk_ray.images.nvimagecodec import JPEG_KINDS, DecoderUnavailable

        planned = self.settings.decoder
        kinds = [kind for kind in JPEG_KINDS if planned.endswith(kind)]
        try:
            make = self._tensorrt_engine if is_tensorrt_plan(path) else self._cuda_engine
            engine: CudaEngine | TensorRTEngine = make(path, sha256, kinds)
        except (CudaUnavailable, DecoderUnavailable) as error:
            raise IncompatibleGpu(
                "a GPU of this run lacks what the run was planned with",
                str(error),
                "install the same packages on every node; --decoder cpu runs on every kind of GPU",
            ) from error
        if engine.decoder_key != planned:
            raise IncompatibleGpu(
                "a worker decodes images with other software than planned",
                f"planned {planned}, found {engine.decoder_key}",
                "install the same packages on every node",
            )
        return engine

    def _cuda_engine(self, path: str, sha256: str, kinds: Sequence[JpegKind]) -> CudaEngine:
        from odtk_ray.engines.cuda import CudaEngine
        from odtk_ray.model.checkpoint import load_checkpoint

        note_moment(Moment.IMPORTED)
        settings = self.settings
        return CudaEngine(
            load_checkpoint(path, self.anchors, expect=sha256),
            settings.preprocessing,
            settings.postprocessing,
            launch_batch=settings.launch_batch,
            threads=settings.threads,
            shapes=self.shapes,
            full_precision=settings.full_precision,
            jpeg=kinds,
        )

    def _tensorrt_engine(self, path: str, sha256: str, kinds: Sequence[JpegKind]) -> TensorRTEngine:
        from odtk_ray.engines.tensorrt import TensorRTEngine

        return TensorRTEngine(
            path,
            self.settings.preprocessing,
            self.settings.postprocessing,
            launch_batch=self.settings.launch_batch,
            threads=self.settings.threads,
            jpeg=kinds,
            expect=sha256,
        )


def engine_module(model: str, *, gpus: bool) -> str:
    """Return the name of the module that the engines of a model are in, as far as it is known.

    Args:
        model: path or URI, as for `EngineLoader`.
        gpus: whether the workers own GPUs.
    """
    if is_onnx(model):
        return "odtk_ray.engines.onnxruntime"
    if is_tensorrt_plan(model) or is_engine_set(model):
        return "odtk_ray.engines.tensorrt"
    return "odtk_ray.engines.cuda" if gpus else "odtk_ray.engines.pytorch"


def no_plan_error(folder: str, gpu: Gpu | None, machine: Machine) -> IncompatibleGpu:
    """Create the error for a GPU that an engine set has no plan for.

    Args:
        folder: of the set.
        gpu: None if the driver finds none.
        machine: the machine of the GPU.
    """
    if gpu is None:
        return IncompatibleGpu("CUDA finds no GPU", "its driver is missing or does not work")
    trt = machine.tensorrt or f"no TensorRT ({machine.trouble})"
    return IncompatibleGpu(
        f"{folder} has no plan for {gpu} with {trt}",
        hint=f"odtk-ray export MODEL {folder} --gpu-type '{gpu.name}' builds it; "
        "--fallback MODEL.pth runs without it",
    )
