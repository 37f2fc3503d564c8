"""Engine sets by path or URI, and the engine of a set for the GPU at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import EngineSet, plan_of
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import is_plan, read_sidecar
from odtk_ray.config import InferConfig
from odtk_ray.engines.load import load_local
from odtk_ray.engines.local_gpus import Detect, Gpu, Machine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.errors import OdtkError, UsageError


class IncompatibleGpu(OdtkError):  # noqa: N818 - a state of the machine, not a failure
    """A GPU that cannot take part in a run; the others go on without it.

    Attributes:
        node: Ray's id of its node; whoever knows it sets it.
    """

    node = ""


@dataclass(frozen=True)
class SetLoader:
    """Makes the engine for the GPU of the process that calls it.

    Attributes:
        folder: of the set, path or URI.
        engines: what the driver found there.
        config: what the user asked for, settled by the set.
        detect: finds the GPU.
        make: makes an engine from a plan, or from the fallback's checkpoint, by its local path;
            None loads it.
    """

    folder: str
    engines: EngineSet
    config: InferConfig
    detect: Detect
    make: EngineFactory | None = None

    def __call__(self, settings: dict[str, Any], shapes: Sequence[tuple[int, int]]) -> Any:
        """Load the plan of this GPU, or the fallback.

        Args:
            settings: the run's plan's.
            shapes: (height, width) of the planned network inputs.

        Raises:
            IncompatibleGpu: there is no plan for it and no fallback, or it cannot do what was
                planned.
            UsageError: the plan is damaged, or not the driver's.
        """
        model, sha256 = self._choose(self.detect())
        with model_file(model) as local:
            if is_plan(local):
                read_sidecar(local, sha256)
            if self.make is not None:
                return self.make(local)
            try:
                return load_local(local, sha256, self.config, settings, shapes)
            except UsageError:  # of the files, whatever the GPU
                raise
            except OdtkError as error:
                raise IncompatibleGpu(error.what, error.why, error.hint) from error

    def _choose(self, machine: Machine) -> tuple[str, str]:
        """Path or URI of the model for a machine, and its SHA-256."""
        gpu = machine.gpus[0] if machine.gpus else None
        key = None if gpu is None else self.engines.find(gpu, machine.tensorrt)
        if key is not None:
            return plan_of(self.folder, key), self.engines.engines[key].plan_sha256
        if gpu is None or self.config.fallback is None:
            raise no_plan(self.folder, gpu, machine)
        return storage.absolute(self.config.fallback), self.engines.model.checkpoint


def no_plan(folder: str, gpu: Gpu | None, machine: Machine) -> IncompatibleGpu:
    """The error of a GPU that a set has no plan for.

    Args:
        folder: of the set.
        gpu: None if the driver shows none.
        machine: that it is in.
    """
    if gpu is None:
        return IncompatibleGpu("CUDA finds no GPU", "the driver is missing, or does not work")
    trt = machine.tensorrt or f"no TensorRT ({machine.trouble})"
    return IncompatibleGpu(
        f"{folder} has no plan for {gpu} with {trt}",
        hint=f"odtk-ray export MODEL {folder} --gpu-type '{gpu.name}' builds it, and "
        "--fallback MODEL.pth does without",
    )
