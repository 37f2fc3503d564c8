"""Opens the models that an export is checked with, in PyTorch, ONNX Runtime and TensorRT.

Each is imported where it is opened, so that a plan is built and checked without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from odtk_ray.artifacts.exported_model import ExportedModel, is_onnx
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.errors import ImageError, OdtkError, UsageError
from odtk_ray.exports.check.check_export import Unavailable
from odtk_ray.exports.check.compare_detections import ComparableDetector
from odtk_ray.records import Detections
from odtk_ray.settings import AnchorGeneration, Preprocessing
from odtk_ray.worker.fleet import physical_cores

if TYPE_CHECKING:
    from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine
    from odtk_ray.engines.pytorch import PyTorchEngine
    from odtk_ray.engines.tensorrt import TensorRTEngine
    from odtk_ray.images.gpu_loader import PendingPicture
    from odtk_ray.model.checkpoint import Checkpoint


class RunningPlan(ComparableDetector, Protocol):
    """A TensorRT plan that runs on a GPU."""

    def information(self) -> str:
        """Return TensorRT's JSON about the layers."""


# Given path, sidecar and the pictures of one call, runs a plan for as long as the context lasts.
PlanOpener: TypeAlias = Callable[[str, Sidecar, int], AbstractContextManager[RunningPlan]]


@contextmanager
def _all_cores() -> Iterator[int]:
    """Yield the number of threads for PyTorch (Ray tasks start with one); restore it afterwards."""
    import torch

    before = torch.get_num_threads()
    try:
        yield physical_cores()
    finally:
        torch.set_num_threads(before)


@contextmanager
def open_checkpoint(
    checkpoint: Checkpoint, about: ExportedModel, batch: int
) -> Iterator[PyTorchEngine]:
    """Open the checkpoint in PyTorch, FP32, on the CPU."""
    from odtk_ray.engines.pytorch import PyTorchEngine

    with _all_cores() as threads:
        yield PyTorchEngine(checkpoint, about.post, launch_batch=batch, threads=threads)


@contextmanager
def open_onnx(path: str, about: ExportedModel, batch: int) -> Iterator[OnnxRuntimeEngine]:
    """Open an ONNX file in ONNX Runtime, on the CPU; if `about` has a hash, the file must match it.

    Raises:
        Unavailable: a package is missing, or the detections are a plugin's.
        UsageError: ONNX Runtime refuses the file.
    """
    if about.outputs == "plugin":
        raise Unavailable("ONNX Runtime does not have the plugin")
    try:
        import onnxruntime  # noqa: F401 - needed by the engine
    except ImportError as error:
        raise Unavailable("ONNX Runtime is not installed") from error
    try:
        import torch  # noqa: F401 - `ops/` are behind raw outputs
    except ImportError as error:
        raise Unavailable("PyTorch, which decodes ONNX Runtime's outputs, is missing") from error
    from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine

    post, expect = about.post, about.sha256 or None
    with _all_cores() as threads:
        yield OnnxRuntimeEngine(path, post, launch_batch=batch, threads=threads, expect=expect)


@contextmanager
def open_source(model: str, about: ExportedModel, batch: int) -> Iterator[ComparableDetector]:
    """Open the model that a plan was built from, on any machine that can read it.

    Args:
        model: path or URI of the checkpoint or ONNX file.
        about: description of the ONNX file that plans are built from.
        batch: pictures of one call.

    Raises:
        Unavailable: it is not here, or a package is missing.
    """
    with ExitStack() as stack:
        try:
            local = stack.enter_context(model_file(model))
            reference = stack.enter_context(_open_local(local, about, batch))
        except UsageError as error:
            raise Unavailable(f"{error.what} ({error.why})") from error
        yield reference


class Reference:
    """Opens the model that a plan was built from: the loaded checkpoint, or elsewhere its file.

    Pickled, it leaves the checkpoint behind: nodes that build plans need not have torch.

    Args:
        model: path or URI of the checkpoint or ONNX file.
        about: description of the ONNX file that plans are built from.
        checkpoint: if this process has loaded it.
    """

    def __init__(
        self, model: str, about: ExportedModel, checkpoint: Checkpoint | None = None
    ) -> None:
        self._model, self._about, self._checkpoint = model, about, checkpoint

    def __call__(self, batch: int) -> AbstractContextManager[ComparableDetector]:
        """See `Opener`."""
        if self._checkpoint is None:
            return open_source(self._model, self._about, batch)
        return open_checkpoint(self._checkpoint, self._about, batch)

    def __reduce__(self) -> tuple[type[Reference], tuple[str, ExportedModel]]:
        return Reference, (self._model, self._about)


def _open_local(
    path: str, about: ExportedModel, batch: int
) -> AbstractContextManager[ComparableDetector]:
    if is_onnx(path):
        return open_onnx(path, about, batch)
    try:
        from odtk_ray.model.checkpoint import load_checkpoint
    except ImportError as error:
        raise Unavailable("PyTorch is not installed") from error
    anchors = cast(AnchorGeneration, about.anchors)
    return open_checkpoint(load_checkpoint(path, anchors, about.checkpoint), about, batch)


@contextmanager
def open_tensorrt_plan(
    path: str, about: Sidecar, batch: int, index: int = 0
) -> Iterator[PlanRunner]:
    """Open a plan on a GPU of this machine.

    Args:
        path: of the plan; its sidecar lies beside it.
        about: the sidecar.
        batch: pictures of one launch, as far as the plan takes them.
        index: the GPU.

    Raises:
        Unavailable: there is no PyCUDA, or the plan is not for this GPU.
    """
    import cuda_ops
    from odtk_ray.engines.tensorrt import TensorRTEngine

    least, _, greatest = about.batches
    launch = min(max(batch, least), greatest)
    prep = Preprocessing(fit=about.model.size)
    try:
        engine = TensorRTEngine(
            path, prep, about.model.post, launch_batch=launch, threads=1, jpeg=(), index=index
        )
    except cuda_ops.CudaUnavailable as error:
        raise Unavailable(str(error)) from error
    except OdtkError as error:
        raise Unavailable(error.why or error.what) from error
    except Exception as error:  # PyCUDA's, which need not be installed
        if type(error).__name__ != "MemoryError":
            raise
        raise Unavailable("the GPU's memory is too small") from error
    try:
        yield PlanRunner(engine, launch)
    finally:
        engine.close()


class PlanRunner:
    """Adapts a TensorRT engine to take decoded pictures, which are resized already.

    Args:
        engine: of this thread.
        batch: pictures of one launch.
    """

    def __init__(self, engine: TensorRTEngine, batch: int) -> None:
        self._engine, self._batch = engine, batch
        self.key = engine.key

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[Detections]:
        """See `Engine.detect`."""
        return [one for part in self._cut(pictures) for one in self._launch(part, shape)]

    def raw(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[NDArray[np.float32]]:
        """See `ComparableDetector.raw`."""
        parts = []
        for part in self._cut(pictures):
            self._launch(part, shape)
            parts.append([output[: len(part)] for output in self._engine.outputs()])
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def information(self) -> str:
        """See `RunningPlan.information`."""
        return self._engine.information()

    def _cut(self, pictures: Sequence[NDArray[np.uint8]]) -> Iterator[Sequence[NDArray[np.uint8]]]:
        for start in range(0, len(pictures), self._batch):
            yield pictures[start : start + self._batch]

    def _launch(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[Detections]:
        outcomes = self._engine.launch([_source(picture) for picture in pictures], shape)()
        found = [outcome.found for outcome in outcomes]
        failed = [one for one in found if isinstance(one, ImageError)]
        if failed:
            raise OdtkError("the check could not load its pictures onto the GPU", str(failed[0]))
        return [one for one in found if not isinstance(one, ImageError)]


def _source(picture: NDArray[np.uint8]) -> PendingPicture:
    """Wrap a picture without resizing it: its size is already that of the network input."""
    from odtk_ray.images.gpu_loader import PendingPicture

    height, width = picture.shape[:2]
    return PendingPicture(np.ascontiguousarray(picture), width, height, (width, height), 1.0)
