"""Tries a GPU of each kind in the cluster before the run is planned.

The plan fixes launch batch and decoder, and both depend on the workers' GPUs and packages. One
short task on one GPU of each kind tries them: the driver need not have a GPU itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odtk_ray.cluster.node_selection import NodeIds
from odtk_ray.cluster.node_tasks import Call, run_on_nodes
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.errors import OdtkError
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.settings import PILLOW, Decoder, RunSettings

# Share of the GPU's memory that must stay free once the largest shape is ready: for decoded
# pictures, the graphs of the other shapes and everything else that allocates.
_FREE_SHARE = 0.1


@dataclass(frozen=True)
class GpuAbilities:
    """The abilities of a GPU, or those that several GPUs share.

    Attributes:
        kernels: whether the kernels of `cuda_ops` run.
        decoders: keys of the image decoders that work, the best first; Pillow's is not among them.
        remarks: what works less well than it could, and why; one sentence each.
        launch_batch: the largest launch that fits in memory, at most the one asked for.
    """

    kernels: bool
    decoders: tuple[str, ...]
    remarks: tuple[str, ...]
    launch_batch: int = 0

    @property
    def decoder(self) -> str:
        """Key of the image decoder to use."""
        return next(iter(self.decoders), PILLOW)


# Tries a GPU with the settings planned so far; returns None if memory runs out.
TryGpu = Callable[[RunSettings], "GpuAbilities | None"]


@dataclass(frozen=True)
class GpuTrial:
    """A trial of a GPU: kernels, decoders, and an engine of the largest planned shape.

    Attributes:
        load: creates a worker's engine; only its largest shape is tried.
        decoder: the decoder that the user asked for.
        kernels_needed: whether the run cannot do without the CUDA kernels.
    """

    load: EngineLoader
    decoder: Decoder | None = None
    kernels_needed: bool = False

    def __call__(self, settings: RunSettings) -> GpuAbilities | None:
        """Find what works, and make an engine with it; return None if memory runs out.

        Args:
            settings: as planned so far, with the launch batch that was asked for.
        """
        found = _find_abilities(self.decoder)
        if self.kernels_needed and not found.kernels:
            raise OdtkError(
                "TensorRT plans need the CUDA kernels", found.remarks[0], "pip install pycuda"
            )
        settings = replace(settings, kernels=found.kernels, decoder=found.decoder)
        load = replace(self.load, settings=settings, shapes=self.load.shapes[:1])
        if load.shapes and not _fits(load):
            return None
        return replace(found, launch_batch=settings.launch_batch)


def try_gpus(
    trial: TryGpu,
    settings: RunSettings,
    trial_nodes: Sequence[NodeIds],
    reporter: Reporter,
    least: int = 1,
) -> GpuAbilities:
    """Try GPUs of the cluster, from the driver; return what every one of them can do.

    Args:
        trial: runs on each of them.
        settings: as planned so far, with the launch batch that was asked for.
        trial_nodes: the nodes to try, one group for each kind of GPU.
        reporter: receives remarks about what the trial waits for.
        least: smallest launch batch that the model accepts.

    Raises:
        OdtkError: not even one picture fits in memory, or the model cannot run there.
    """
    found: list[GpuAbilities] = []
    wanted = batch = settings.launch_batch
    waiting = {f"GPU {i}": place for i, place in enumerate(trial_nodes, start=1)}
    while waiting:
        asked = trial, replace(settings, launch_batch=batch)
        calls = [Call(name, place, asked) for name, place in waiting.items()]
        # A process that ran out of memory during a capture is unusable, so each try has its own.
        results = run_on_nodes(_run, calls, "trying what GPUs can do", reporter)
        for name, result in results.items():
            if isinstance(result, OdtkError):
                raise result
            if result is not None:
                found.append(result)
                del waiting[name]
        if waiting and batch <= least:
            raise OdtkError(
                "the GPU's memory is too small",
                f"not even {counted(least, 'image')} of the largest size at once",
                "lower --resize and --max-size, or export the model smaller",
            )
        batch = max(batch // 2, least) if waiting else batch
    common = common_abilities(found)
    if batch == wanted:
        return common
    remark = f"{wanted} images per launch do not fit in GPU memory: using {batch}"
    return replace(common, remarks=(*common.remarks, remark))


def _run(trial: TryGpu, settings: RunSettings) -> GpuAbilities | None:
    return trial(settings)


def common_abilities(found: Sequence[GpuAbilities]) -> GpuAbilities:
    """Return what all of several GPUs can do."""
    first = found[0]
    decoders = tuple(key for key in first.decoders if all(key in gpu.decoders for gpu in found))
    remarks = dict.fromkeys(remark for gpu in found for remark in gpu.remarks)
    best = {gpu.decoder for gpu in found}
    if len(best) > 1:
        chosen = next(iter(decoders), "the CPU")
        remarks[f"JPEGs are decoded by {chosen}, as every kind of GPU here can: "
                f"they differ in the best ({', '.join(sorted(best))})"] = None  # fmt: skip
    return GpuAbilities(
        all(gpu.kernels for gpu in found),
        decoders,
        tuple(remarks),
        min(gpu.launch_batch for gpu in found),
    )


def _find_abilities(decoder: Decoder | None) -> GpuAbilities:
    """Find whether the kernels run, and which decoders work."""
    try:
        import cuda_ops

        device = cuda_ops.Device()
    except Exception as error:  # PyCUDA and the driver raise many types
        remark = f"the CUDA kernels cannot be used, PyTorch computes instead: {error}"
        return GpuAbilities(False, (), (remark,))
    try:
        return _decoders(device) if decoder != "cpu" else GpuAbilities(True, (), ())
    finally:
        device.close()


def _decoders(device: Any) -> GpuAbilities:
    """Open each kind of GPU decoder: their pixels differ."""
    from odtk_ray.images.nvimagecodec import JPEG_KINDS, JpegDecoder

    keys: list[str] = []
    reasons: dict[str, None] = {}
    for kind in JPEG_KINDS:
        try:
            jpeg = JpegDecoder(device, threads=1, kinds=[kind])
            jpeg.close()
            keys.append(jpeg.key)
        except Exception as error:  # so do nvImageCodec and its libraries
            reasons[str(error)] = None
    remarks = () if keys else (f"the CPU decodes JPEGs: {'; '.join(reasons)}",)
    return GpuAbilities(True, tuple(keys), remarks)


def _fits(load: EngineLoader) -> bool:
    """Return whether an engine with its shapes leaves enough memory."""
    try:
        engine: Any = load()
        with engine:
            if not load.settings.kernels:  # torch allocates when it computes
                engine.launch([], load.shapes[0])()
            free, total = engine.memory()
    except Exception as error:
        # By name, since neither torch nor PyCUDA need be installed.
        if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
            return False
        raise
    return bool(free >= _FREE_SHARE * total)
