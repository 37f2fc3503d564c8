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


_NO_ROTATED = "the CUDA kernels do not know rotated boxes yet: PyTorch computes in their place"

# Makes an engine of the settings given, with the shapes given ready.
MakeEngine = Callable[[dict[str, Any], Sequence[tuple[int, int]]], Any]


def probe_gpu(
    make_engine: MakeEngine,
    settings: dict[str, Any],
    shapes: Sequence[tuple[int, int]],
    decoder: Decoder | None,
) -> Gpu:
    """Try one GPU, from the driver.

    Args:
        make_engine: makes a worker's engine.
        settings: the plan's so far, with the launch batch that was asked for.
        shapes: (height, width) of the network inputs, largest first; may be empty.
        decoder: the one that the user insists on.

    Raises:
        OdtkError: not even one picture fits in memory.
    """
    import ray

    # A process that ran out of memory in mid-capture is good for nothing: each trial has its own.
    trial = ray.remote(num_gpus=1, num_cpus=0, max_calls=1, max_retries=0)(_try_gpu)
    wanted = batch = settings["launch_batch"]
    while True:
        settings = settings | {"launch_batch": batch}
        found: Gpu | None = ray.get(trial.remote(make_engine, settings, shapes[:1], decoder))
        if found is not None:
            break
        if batch == 1:
            raise OdtkError(
                "the GPU's memory is too small",
                f"not even one picture of {shapes[0][1]}x{shapes[0][0]} fits",
                "lower --resize and --max-size",
            )
        batch //= 2
    if batch == wanted:
        return found
    remark = f"{wanted} images a launch do not fit in GPU memory: taking {batch}"
    return replace(found, remarks=(*found.remarks, remark))


def _try_gpu(
    make_engine: MakeEngine,
    settings: dict[str, Any],
    shapes: Sequence[tuple[int, int]],
    decoder: Decoder | None,
) -> Gpu | None:
    """See what works, and make an engine of it; None when memory runs out. Runs on a worker."""
    none = (False, PILLOW, (_NO_ROTATED,))
    kernels, key, remarks = none if settings["rotated"] else _capabilities(decoder)
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
    import torch

    try:
        engine = make_engine(settings, shapes)
        if not settings["kernels"]:
            engine.detect([], shapes[0])
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return False
    except Exception as error:
        if type(error).__name__ == "MemoryError":  # PyCUDA's, which need not be installed
            return False
        raise
    free, total = torch.cuda.mem_get_info()
    if settings["kernels"]:
        engine.close()
    return free >= _FREE_SHARE * total
