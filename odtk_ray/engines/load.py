"""Which engine runs a plan, and how a worker makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import is_plan
from odtk_ray.config import Decoder, InferConfig
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine
from odtk_ray.errors import OdtkError

if TYPE_CHECKING:
    from odtk_ray.engines.cuda import CudaEngine
    from odtk_ray.engines.pytorch import PyTorchEngine
    from odtk_ray.engines.tensorrt import TensorRTEngine
    from odtk_ray.images.nvimagecodec import JpegKind
    from odtk_ray.model.checkpoint import Checkpoint

GpuEngine: TypeAlias = "CudaEngine | TensorRTEngine"

PILLOW = "pillow"


def load_engine(
    model: str,
    sha256: str,
    config: InferConfig,
    settings: dict[str, Any],
    shapes: Sequence[tuple[int, int]],
) -> PyTorchEngine | OnnxRuntimeEngine | GpuEngine:
    """Load the model into the engine that the plan names.

    Args:
        model: path or URI of the checkpoint or exported model.
        sha256: of the driver's model, which this must be.
        config: what the user asked for.
        settings: the plan's: launch_batch, threads, device, kernels, decoder, compiled.
        shapes: (height, width) of the planned network inputs, largest first.

    Raises:
        UsageError: the model is another, cannot be read, or is a plan for another machine.
        OdtkError: this worker lacks what the plan was made for.
    """
    with model_file(model) as local:
        return load_local(local, sha256, config, settings, shapes)


def load_local(
    model: str,
    sha256: str,
    config: InferConfig,
    settings: dict[str, Any],
    shapes: Sequence[tuple[int, int]],
) -> PyTorchEngine | OnnxRuntimeEngine | GpuEngine:
    """`load_engine` of a model that is a local file."""
    on_gpu = settings["device"] == "gpu"
    if is_onnx(model):
        return OnnxRuntimeEngine(
            model,
            config.post,
            launch_batch=settings["launch_batch"],
            threads=settings["threads"],
            gpu=on_gpu,
            expect=sha256,
        )
    if is_plan(model):
        return _checked(_plan_engine, settings, model, sha256, config, settings)
    from odtk_ray.model.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(model, config.anchors, expect=sha256)
    if settings["kernels"]:
        return _checked(_cuda_engine, settings, checkpoint, config, settings, shapes)
    from odtk_ray.engines.pytorch import PyTorchEngine

    return PyTorchEngine(
        checkpoint,
        config.post,
        launch_batch=settings["launch_batch"],
        threads=settings["threads"],
        full_precision=config.full_precision,
        device="cuda" if on_gpu else "cpu",
    )


def decoder_kind(key: str) -> Decoder:
    """Which of the two decoders a plan's `decoder` is."""
    return "cpu" if key == PILLOW else "gpu"


def _checked(make: Callable[..., GpuEngine], settings: dict[str, Any], *args: Any) -> GpuEngine:
    """An engine of the GPU, where it can be made and decodes as was planned."""
    from cuda_ops import CudaUnavailable
    from odtk_ray.images.nvimagecodec import DecoderUnavailable

    try:
        engine = make(*args)
    except (CudaUnavailable, DecoderUnavailable) as error:
        raise OdtkError(
            "a GPU of this run cannot do what the first one can",
            str(error),
            "install the same packages on every node; --decoder cpu runs on every kind of GPU",
        ) from error
    if engine.decoder_key != settings["decoder"]:
        raise OdtkError(
            "a worker decodes images with other software than was planned",
            f"planned {settings['decoder']}, found {engine.decoder_key}",
            "install the same packages on every node",
        )
    return engine


def _cuda_engine(
    checkpoint: Checkpoint,
    config: InferConfig,
    settings: dict[str, Any],
    shapes: Sequence[tuple[int, int]],
) -> CudaEngine:
    from odtk_ray.engines.cuda import CudaEngine

    return CudaEngine(
        checkpoint,
        config.pre,
        config.post,
        launch_batch=settings["launch_batch"],
        threads=settings["threads"],
        shapes=shapes,
        compile_shapes=[(h, w) for h, w in settings["compiled"]],
        full_precision=config.full_precision,
        jpeg=_jpeg_kinds(settings),
    )


def _plan_engine(
    model: str, sha256: str, config: InferConfig, settings: dict[str, Any]
) -> TensorRTEngine:
    from odtk_ray.engines.tensorrt import TensorRTEngine

    return TensorRTEngine(
        model,
        config.pre,
        config.post,
        launch_batch=settings["launch_batch"],
        threads=settings["threads"],
        jpeg=_jpeg_kinds(settings),
        expect=sha256,
    )


def _jpeg_kinds(settings: dict[str, Any]) -> list[JpegKind]:
    from odtk_ray.images.nvimagecodec import JPEG_KINDS

    return [kind for kind in JPEG_KINDS if settings["decoder"].endswith(kind)]
