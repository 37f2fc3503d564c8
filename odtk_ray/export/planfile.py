"""From a model to a plan and its sidecar, checked; from ONNX without torch, as on a Jetson."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from odtk_ray.config import ExportConfig
from odtk_ray.data.sizes import read_sizes
from odtk_ray.data.sources import find_images
from odtk_ray.engines.trt import describe, import_tensorrt
from odtk_ray.errors import UsageError
from odtk_ray.export.files import check_output, writing
from odtk_ray.export.layers import Layers, graph_layers, read_layers
from odtk_ray.export.plan import PlanOptions, build_plan, check_plan, is_strongly_typed
from odtk_ray.export.runners import PlanOpener, RunningPlan, open_onnx, open_plan
from odtk_ray.export.verdict import Opener, Unavailable, Verdict, gather, judge
from odtk_ray.model.exported import ExportedModel, Precision, is_onnx, read_exported
from odtk_ray.model.open import check_rotated
from odtk_ray.model.sidecar import Sidecar, sidecar_path

if TYPE_CHECKING:
    from odtk_ray.export.run import Reporter

# Of CUDA's driver interface, cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


_THROUGHPUT_BATCH = 8  # what `odtk-ray infer` launches on a GPU by default
_WELL_USED = 0.85  # share of the input's pixels
_MOST_HEADERS = 1000  # read to find that share

# Settings that an ONNX file has in it.
_DECIDED = frozenset(
    """size with_postprocess opset anchors threshold top_n nms detections rotated_nms
    calibration_images calibration_batches calibration_batch_size calibration_table
    calibration_method recalibrate int8_exclude""".split()
)


@dataclass(frozen=True)
class BuiltPlan:
    """What was built.

    Attributes:
        path: of the plan.
        about: its sidecar.
        used: share of the input's pixels that the images given fill; None without images.
        layers: in which precision they compute; None where that is not known.
        verdict: how far it is from what it was made of.
    """

    path: str
    about: Sidecar
    used: float | None
    layers: Layers | None
    verdict: Verdict

    def lines(self) -> list[str]:
        """The summary, for people."""
        about, model = self.about, self.about.model
        least, tuned, greatest = about.batches
        targets = [*(about.gpu or ()), *about.capabilities]
        bound = " ".join(targets) or "the GPUs that TensorRT chooses by itself"
        boxes = "rotated boxes, " if model.rotated else ""
        return [
            f"wrote {self.path} ({about.plan_bytes / 1e6:.1f} MB): {', '.join(model.backbones)}, "
            f"{boxes}{model.size[0]}x{model.size[1]}, {model.precision.upper()}, "
            f"batch {least} to {greatest}, tuned for {tuned}",
            f"for {bound}, with {about.tensorrt}",
            *([] if self.layers is None else [self.layers.line()]),
            *self.verdict.lines(),
            *self._hints(),
            f"next: odtk-ray infer {self.path} --images DIR",
        ]

    def _hints(self) -> list[str]:
        """What would make it faster."""
        least, tuned, greatest = self.about.batches
        rows = []
        if tuned == 1 < greatest:
            rows.append(
                "tuned for single images; for throughput: "
                f"--dynamic-batch-opts {least} {min(_THROUGHPUT_BATCH, greatest)} {greatest}"
            )
        if self.used is not None and self.used < _WELL_USED:
            height, width = self.about.model.size
            rows.append(
                f"the images fill {self.used:.0%} of the {height}x{width} pixels: a --size of "
                "their shape would be faster"
            )
        return rows


def open_here(path: str, about: Sidecar, batch: int) -> AbstractContextManager[RunningPlan]:
    """A plan on this machine's GPU, if it has one; see `open_plan`."""
    if find_gpu() is None:
        raise Unavailable("this machine has no GPU")
    return open_plan(path, about, batch)


def export_plan(
    config: ExportConfig, report: Reporter, open_built: PlanOpener = open_here
) -> BuiltPlan:
    """Builds a plan of a checkpoint or of an ONNX file, and checks it where it can run.

    Args:
        config: what to do.
        report: told about progress, and if the plan is off.
        open_built: makes the plan run.

    Raises:
        UsageError: the model, a setting or TensorRT cannot be used; nothing was written.
        OdtkError: the build failed, or the files cannot be written.
    """
    check_output(config.output)
    trt = import_tensorrt()
    data, model, options = plan_source(config, report)
    about = Sidecar(
        model=replace(model, precision=options.precision),
        batches=options.batches,
        tensorrt=describe(trt),
        gpu=None if config.capabilities else find_gpu(),
        capabilities=options.capabilities,
    )
    material = gather(config, about.model)
    plan = build_plan(data, model, options, name=about.identity, progress=report.note)
    about = replace(about, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_bytes=len(plan))
    _write(config.output, plan, about)
    images = config.check_images or config.calibration_images
    used = None if images is None else pixels_used(images, model.size)
    typed = is_strongly_typed(trt) or options.precision == "fp32"
    layers = _graph_layers(data, options.precision) if typed else None
    try:
        with open_built(config.output, about, material.batch) as running:
            layers = read_layers(running.information()) or layers
            verdict = judge(material, running, _reference(config, model))
    except Unavailable as error:
        verdict = Verdict(None, why=str(error))
    for text in verdict.warnings():
        report.warn(text)
    return BuiltPlan(config.output, about, used, layers, verdict)


def plan_source(config: ExportConfig, report: Reporter) -> tuple[bytes, ExportedModel, PlanOptions]:
    """The ONNX file that a plan is built from, what it says about itself, and how to build.

    Raises:
        UsageError: the model or a setting cannot be used.
    """
    options = PlanOptions(
        precision="fp32" if config.full_precision else "int8" if config.int8 else "fp16",
        batches=config.batches,
        workspace=None if config.workspace is None else config.workspace << 20,
        timing_cache=config.timing_cache,
        capabilities=config.capabilities,
        verbose=config.verbose,
    )
    data, model = _source(config, report)
    if model.precision == "int8" and not config.full_precision:
        options = replace(options, precision="int8")
    check_plan(model, options)
    return data, model, options


def _write(path: str, plan: bytes, about: Sidecar) -> None:
    """Both files whole, or none; the sidecar first: a plan is never there without it."""
    with writing(path) as part:
        Path(part).write_bytes(plan)
        with writing(sidecar_path(path)) as beside:
            Path(beside).write_text(about.to_json(), encoding="utf-8")


def _graph_layers(onnx_file: bytes, precision: Precision) -> Layers | None:
    """What the graph says, whose types TensorRT must keep; None without the onnx package."""
    try:
        import onnx
    except ImportError:
        return None
    others = "FP32" if precision == "fp32" else "FP16"
    return graph_layers(onnx.load_from_string(onnx_file), others)


def _reference(config: ExportConfig, model: ExportedModel) -> Opener:
    """Opens what the plan is compared with: the checkpoint, or the ONNX file."""
    if is_onnx(config.model):
        return functools.partial(open_onnx, config.model, model)
    from odtk_ray.export.runners import open_checkpoint
    from odtk_ray.model.checkpoint import load_checkpoint

    return functools.partial(open_checkpoint, load_checkpoint(config.model, config.anchors), model)


def pixels_used(images: str, size: tuple[int, int]) -> float | None:
    """Mean share of a network input that images fill when they are fitted into it.

    Args:
        images: folder, file, glob, list or URI; sizes are read from the headers of some.
        size: height and width of the input in pixels.

    Returns:
        None where no header can be read.
    """
    paths = find_images(images).records["path"].to_pylist()
    sizes = read_sizes(paths[:: -(-len(paths) // _MOST_HEADERS)], "ignore").astype(np.float64)
    width, height = sizes[sizes.min(axis=1) > 0].T
    if not len(width):
        return None
    scale = np.minimum(size[0] / height, size[1] / width)
    return float((width * height * scale**2).mean() / (size[0] * size[1]))


def _source(config: ExportConfig, report: Reporter) -> tuple[bytes, ExportedModel]:
    if not is_onnx(config.model):
        try:
            from odtk_ray.export.run import onnx_for_plan
        except ImportError as error:
            raise UsageError(
                "a plan of a checkpoint needs PyTorch",
                str(error),
                "export it to ONNX where PyTorch is, and build the plan of that here",
            ) from error
        return onnx_for_plan(config, report)
    about = read_exported(config.model)
    _check_flags(config, about)
    return Path(config.model).read_bytes(), about


def _check_flags(config: ExportConfig, about: ExportedModel) -> None:
    """Refuses flags that say what was decided when an ONNX file was exported."""
    if config.int8 and about.precision != "int8":
        raise UsageError(
            "--int8 needs a checkpoint", "INT8 is written into the ONNX when it is exported"
        )
    check_rotated(config.model, about, config.rotated_bbox)
    same = {"size"} if config.size == about.size else set()
    if odd := sorted(config.given & _DECIDED - same):
        flag = f"--{odd[0].replace('_', '-')}"
        height, width = about.size
        raise UsageError(
            f"{flag} is for checkpoints",
            f"{os.path.basename(config.model)} was exported for {height}x{width} in "
            f"{about.precision.upper()} already",
            f"leave {flag} out, or export the checkpoint again",
        )


def find_gpu() -> tuple[str, str] | None:
    """Name and compute capability, such as `8.9`, of this machine's first GPU; None if none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    text = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(text, len(text), device)
    for value, attribute in ((major, _CAPABILITY_MAJOR), (minor, _CAPABILITY_MINOR)):
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return text.value.decode(), f"{major.value}.{minor.value}"
