"""What a GPU of the cluster can do, found out before the plan is made.

The plan fixes launch batch and decoder, and both depend on the workers' GPUs and packages. One
short task on one GPU of each kind tries them: the driver need not have a GPU itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from odtk_ray.cluster.node_selection import Place
from odtk_ray.cluster.node_tasks import Call, run_on_nodes
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.errors import OdtkError
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.settings import PILLOW, Decoder, RunSettings

# Share of the GPU's memory that must stay free once the largest shape is ready, for decoded
# pictures, for the graphs of the other shapes and for what else allocates.
_FREE_SHARE = 0.1


@dataclass(frozen=True)
class Ability:
    """What a GPU can do, or all of several.

    Attributes:
        kernels: whether the kernels of `cuda_ops` run.
        decoders: keys of the image decoders that work, the best first; Pillow's is not among them.
        remarks: why something is not as it could be, one sentence each.
        launch_batch: the most pictures, at most those asked for, whose launch fits in memory.
    """

    kernels: bool
    decoders: tuple[str, ...]
    remarks: tuple[str, ...]
    launch_batch: int = 0

    @property
    def decoder(self) -> str:
        """Key of the image decoder to take."""
        return next(iter(self.decoders), PILLOW)


# What is tried on a GPU, with the settings planned so far; None when memory runs out.
Try = Callable[[RunSettings], "Ability | None"]


@dataclass(frozen=True)
class Trial:
    """What is tried on a GPU.

    Attributes:
        load: makes a worker's engine; of its shapes the largest is tried.
        decoder: the one that the user insists on.
        kernels_needed: whether nothing can take the kernels' place.
    """

    load: EngineLoader
    decoder: Decoder | None = None
    kernels_needed: bool = False

    def __call__(self, settings: RunSettings) -> Ability | None:
        """See what works, and make an engine of it; None when memory runs out.

        Args:
            settings: the plan's so far, with the launch batch that was asked for.
        """
        found = _abilities(self.decoder)
        if self.kernels_needed and not found.kernels:
            raise OdtkError(
                "TensorRT plans need the CUDA kernels", found.remarks[0], "pip install pycuda"
            )
        settings = replace(settings, kernels=found.kernels, decoder=found.decoder)
        load = replace(self.load, settings=settings, shapes=self.load.shapes[:1])
        if load.shapes and not _fits(load):
            return None
        return replace(found, launch_batch=settings.launch_batch)


def probe_gpus(
    trial: Try,
    settings: RunSettings,
    places: Sequence[Place],
    report: Reporter,
    least: int = 1,
) -> Ability:
    """Try GPUs of the cluster, from the driver; returns what every one of them can do.

    Args:
        trial: runs on each of them.
        settings: the plan's so far, with the launch batch that was asked for.
        places: where to try: a place for each kind of GPU.
        report: told what is waited for.
        least: launch batch that the model takes.

    Raises:
        OdtkError: not even one picture fits in memory, or the model cannot run there.
    """
    found: list[Ability] = []
    wanted = batch = settings.launch_batch
    waiting = {f"GPU {i}": place for i, place in enumerate(places, start=1)}
    while waiting:
        asked = trial, replace(settings, launch_batch=batch)
        calls = [Call(name, place, asked) for name, place in waiting.items()]
        # A process that ran out of memory in mid-capture is good for nothing: each has its own.
        results = run_on_nodes(_run, calls, "trying what GPUs can do", report)
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
    common = agree(found)
    if batch == wanted:
        return common
    remark = counted(wanted, "image a launch does", "images a launch do")
    remark += f" not fit in GPU memory: taking {batch}"
    return replace(common, remarks=(*common.remarks, remark))


def _run(trial: Try, settings: RunSettings) -> Ability | None:
    return trial(settings)


def agree(found: Sequence[Ability]) -> Ability:
    """What all of several GPUs can do."""
    first = found[0]
    decoders = tuple(key for key in first.decoders if all(key in gpu.decoders for gpu in found))
    remarks = dict.fromkeys(remark for gpu in found for remark in gpu.remarks)
    best = {gpu.decoder for gpu in found}
    if len(best) > 1:
        chosen = next(iter(decoders), "the CPU")
        remarks[f"JPEGs are decoded by {chosen}, as every kind of GPU here can: "
                f"they differ in the best ({', '.join(sorted(best))})"] = None  # fmt: skip
    return Ability(
        all(gpu.kernels for gpu in found),
        decoders,
        tuple(remarks),
        min(gpu.launch_batch for gpu in found),
    )


def _abilities(decoder: Decoder | None) -> Ability:
    """Whether the kernels run, and which decoders do."""
    try:
        import cuda_ops

        device = cuda_ops.Device()
    except Exception as error:  # PyCUDA and the driver raise what they like
        remark = f"the CUDA kernels cannot be used, PyTorch computes in their place: {error}"
        return Ability(False, (), (remark,))
    try:
        return _decoders(device) if decoder != "cpu" else Ability(True, (), ())
    finally:
        device.close()


def _decoders(device: Any) -> Ability:
    """Each kind of the GPU's decoders is opened: they differ in their pixels."""
    from odtk_ray.images.nvimagecodec import JPEG_KINDS, JpegDecoder

    keys: list[str] = []
    reasons: dict[str, None] = {}
    for kind in JPEG_KINDS:
        try:
            jpeg = JpegDecoder(device, threads=1, kinds=[kind])
            jpeg.close()
            keys.append(jpeg.key)
        except Exception as error:  # nvImageCodec and its libraries likewise
            reasons[str(error)] = None
    remarks = () if keys else (f"the CPU decodes JPEGs: {'; '.join(reasons)}",)
    return Ability(True, tuple(keys), remarks)


def _fits(load: EngineLoader) -> bool:
    """Whether an engine with its shapes leaves enough memory."""
    try:
        engine: Any = load()
        with engine:
            if not load.settings.kernels:  # torch allocates when it computes
                engine.launch([], load.shapes[0])()
            free, total = engine.memory()
    except Exception as error:
        # torch's and PyCUDA's, neither of which need be installed.
        if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
            return False
        raise
    return bool(free >= _FREE_SHARE * total)
