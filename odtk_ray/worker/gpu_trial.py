"""Finds what a worker's GPU can do: launch batch and decoder of the plan depend on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from odtk_ray.dispatch.agreement import FREE_SHARE, GpuAbilities
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.protocol import Engine
from odtk_ray.settings import Decoder


@dataclass(frozen=True)
class GpuTrial:
    """What a worker tries: kernels, decoders, and an engine of the largest shape.

    Attributes:
        load: creates the engine; its settings have the launch batch that is tried.
        kernels_needed: whether the run cannot do without the CUDA kernels.
        tell_kinds: whether kinds of GPUs are told apart.
    """

    load: EngineLoader
    kernels_needed: bool = False
    tell_kinds: bool = False


@contextlib.contextmanager
def found_abilities(decoder: Decoder | None, *, every: bool) -> Iterator[GpuAbilities]:
    """Find whether the kernels run and which decoders work.

    The GPU's context and the decoders stay until the end: the next ones are made in a tenth of the
    time meanwhile.

    Args:
        decoder: the decoder that the user asked for.
        every: whether to find all decoders that work, not only the best.
    """
    with contextlib.ExitStack() as opened:
        try:
            import cuda_ops

            device = cuda_ops.Device()
        except Exception as error:  # PyCUDA and the driver raise many types
            remark = f"the CUDA kernels cannot be used, PyTorch computes instead: {error}"
            yield GpuAbilities(False, (), (remark,))
            return
        opened.callback(device.close)
        yield GpuAbilities(True, (), ()) if decoder == "cpu" else _decoders(device, every, opened)


def _decoders(device: Any, every: bool, opened: contextlib.ExitStack) -> GpuAbilities:
    """Open the kinds of GPU decoders, the best first: their pixels differ."""
    from odtk_ray.images.nvimagecodec import JPEG_KINDS, JpegDecoder

    keys: list[str] = []
    reasons: dict[str, None] = {}
    for kind in JPEG_KINDS:
        try:
            jpeg = JpegDecoder(device, threads=1, kinds=[kind])
        except Exception as error:  # so do nvImageCodec and its libraries
            reasons[str(error)] = None
            continue
        opened.callback(jpeg.close)
        keys.append(jpeg.key)
        if not every:
            break
    remarks = () if keys else (f"the CPU decodes JPEGs: {'; '.join(reasons)}",)
    return GpuAbilities(True, tuple(keys), remarks)


def leaves_memory(engine: Engine[Any], load: EngineLoader) -> bool:
    """Return whether an engine with its largest shape leaves enough of the GPU's memory."""
    measured: Any = engine
    if not load.settings.kernels:  # torch allocates when it computes
        measured.launch([], load.shapes[0])()
    free, total = measured.memory()
    return bool(free >= FREE_SHARE * total)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a GPU's memory was too small."""
    # By name, since neither torch nor PyCUDA need be installed.
    return type(error).__name__ in ("OutOfMemoryError", "MemoryError")
