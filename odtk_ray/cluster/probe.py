"""What a GPU of the cluster can do, found out before the plan is made.

The plan fixes launch batch and decoder, and both depend on the workers' GPUs and packages. One
short task on one GPU tries them: the driver need not have a GPU itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odtk_ray.config import Decoder
from odtk_ray.engines.load import PILLOW
from odtk_ray.errors import OdtkError

# Share of the GPU's memory that must stay free once the largest shape is ready, for decoded
# pictures, for the graphs of the other shapes and for what else allocates.
_FREE_SHARE = 0.1


@dataclass(frozen=True)
class Gpu:
    """What was found.

    Attributes:
        kernels: whether the kernels of `cuda_ops` run.
        decoder: key of the image decoder.
        launch_batch: the most pictures, at most those asked for, whose launch fits in memory.
        remarks: why something is not as it could be, one sentence each.
    """

    kernels: bool
    decoder: str
    launch_batch: int
    remarks: tuple[str, ...]


# Makes an engine of the settings given, with the shapes given ready.
MakeEngine = Callable[[dict[str, Any], Sequence[tuple[int, int]]], Any]


def probe_gpu(
    make_engine: MakeEngine,
    settings: dict[str, Any],
    shapes: Sequence[tuple[int, int]],
    decoder: Decoder | None,
    *,
    least: int = 1,
    kernels_needed: bool = False,
) -> Gpu:
    """Try one GPU, from the driver.

    Args:
        make_engine: makes a worker's engine.
        settings: the plan's so far, with the launch batch that was asked for.
        shapes: (height, width) of the network inputs, largest first; may be empty.
        decoder: the one that the user insists on.
        least: launch batch that the model takes.
        kernels_needed: whether nothing can take the kernels' place.

    Raises:
        OdtkError: not even one picture fits in memory, or the model cannot run there.
    """
    import ray
    from ray.exceptions import RayTaskError

    # A process that ran out of memory in mid-capture is good for nothing: each trial has its own.
    trial = ray.remote(num_gpus=1, num_cpus=0, max_calls=1, max_retries=0)(_try_gpu)
    wanted = batch = settings["launch_batch"]
    while True:
        settings = settings | {"launch_batch": batch}
        trying = make_engine, settings, shapes[:1], decoder, kernels_needed
        try:
            found: Gpu | None = ray.get(trial.remote(*trying))
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, OdtkError) else error from None
        if found is not None:
            break
        if batch <= least:
            raise OdtkError(
                "the GPU's memory is too small",
                f"not even {least} of {shapes[0][1]}x{shapes[0][0]} pixels fits",
                "lower --resize and --max-size, or export the model smaller",
            )
        batch = max(batch // 2, least)
    if batch == wanted:
        return found
    remark = f"{wanted} images a launch do not fit in GPU memory: taking {batch}"
    return replace(found, remarks=(*found.remarks, remark))


def _try_gpu(
    make_engine: MakeEngine,
    settings: dict[str, Any],
    shapes: Sequence[tuple[int, int]],
    decoder: Decoder | None,
    kernels_needed: bool,
) -> Gpu | None:
    """See what works, and make an engine of it; None when memory runs out. Runs on a worker."""
    kernels, key, remarks = _capabilities(decoder)
    if kernels_needed and not kernels:
        raise OdtkError("TensorRT plans need the CUDA kernels", remarks[0], "pip install pycuda")
    settings = settings | {"kernels": kernels, "decoder": key, "compiled": []}
    if shapes and not _fits(make_engine, settings, shapes):
        return None
    return Gpu(kernels, key, settings["launch_batch"], remarks)


def _capabilities(decoder: Decoder | None) -> tuple[bool, str, tuple[str, ...]]:
    """Whether the kernels run, the decoder's key, and remarks."""
    try:
        import cuda_ops

        device = cuda_ops.Device()
    except Exception as error:  # PyCUDA and the driver raise what they like
        remark = f"the CUDA kernels cannot be used, PyTorch computes in their place: {error}"
        return False, PILLOW, (remark,)
    if decoder == "cpu":
        device.close()
        return True, PILLOW, ()
    try:
        from odtk_ray.data.gpu_jpeg import JpegDecoder

        jpeg = JpegDecoder(device, threads=1)
        jpeg.close()
    except Exception as error:
        return True, PILLOW, (f"the CPU decodes JPEGs: {error}",)
    finally:
        device.close()
    return True, jpeg.key, ()


def _fits(
    make_engine: MakeEngine, settings: dict[str, Any], shapes: Sequence[tuple[int, int]]
) -> bool:
    """Whether an engine with these shapes leaves enough memory."""
    try:
        engine = make_engine(settings, shapes)
        if settings["kernels"]:
            free, total = engine.memory()
            engine.close()
        else:
            free, total = _memory_of_torch(engine, shapes[0])
    except Exception as error:
        # torch's and PyCUDA's, neither of which need be installed.
        if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
            return False
        raise
    return bool(free >= _FREE_SHARE * total)


def _memory_of_torch(engine: Any, shape: tuple[int, int]) -> tuple[int, int]:
    """Bytes that are free after a launch, and bytes in all."""
    import torch

    engine.detect([], shape)
    torch.cuda.synchronize()
    return torch.cuda.mem_get_info()
