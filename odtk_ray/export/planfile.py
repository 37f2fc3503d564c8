"""From a model to a plan and its sidecar; from ONNX without torch, as on a Jetson."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from odtk_ray.config import ExportConfig
from odtk_ray.data.sizes import read_sizes
from odtk_ray.data.sources import find_images
from odtk_ray.engines.devices import Gpu, list_gpus
from odtk_ray.engines.load import model_file
from odtk_ray.engines.trt import describe, import_tensorrt
from odtk_ray.errors import UsageError
from odtk_ray.export.files import check_output, writing
from odtk_ray.export.plan import PlanOptions, build_plan, check_plan
from odtk_ray.model.exported import ExportedModel, is_onnx, read_exported
from odtk_ray.model.sidecar import Sidecar, sidecar_path

if TYPE_CHECKING:
    from odtk_ray.report import Reporter

_THROUGHPUT_BATCH = 8  # what `odtk-ray infer` launches on a GPU by default
_WELL_USED = 0.85  # share of the input's pixels
_MOST_HEADERS = 1000  # read to find that share


@dataclass(frozen=True)
class BuiltPlan:
    """What was built.

    Attributes:
        path: of the plan.
        about: its sidecar.
        used: share of the input's pixels that the images given fill; None without images.
    """

    path: str
    about: Sidecar
    used: float | None

    def lines(self) -> list[str]:
        """The summary, for people."""
        about, model = self.about, self.about.model
        least, tuned, greatest = about.batches
        targets = [*(about.gpu or ()), *about.capabilities]
        bound = " ".join(targets) or "the GPUs that TensorRT chooses by itself"
        return [
            f"wrote {self.path} ({about.plan_bytes / 1e6:.1f} MB): {', '.join(model.backbones)}, "
            f"{model.size[0]}x{model.size[1]}, {model.precision.upper()}, "
            f"batch {least} to {greatest}, tuned for {tuned}",
            f"for {bound}, with {about.tensorrt}",
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


def export_plan(config: ExportConfig, report: Reporter) -> BuiltPlan:
    """Builds a plan of a checkpoint or of an ONNX file.

    Raises:
        UsageError: the model, a setting or TensorRT cannot be used; nothing was written.
        OdtkError: the build failed, or the files cannot be written.
    """
    check_output(config.output)
    trt = import_tensorrt()
    data, model, options = plan_source(config, report)
    gpu = None if config.capabilities else find_gpu()
    about = describe_built(model, options, describe(trt), gpu)
    plan = build_plan(data, model, options, name=about.identity, progress=report.note)
    about = replace(about, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_bytes=len(plan))
    # The sidecar first: a plan is never there without it.
    with writing(sidecar_path(config.output)) as part:
        Path(part).write_text(about.to_json(), encoding="utf-8")
    with writing(config.output) as part:
        Path(part).write_bytes(plan)
    images = config.check_images or config.calibration_images
    used = None if images is None else pixels_used(images, model.size)
    return BuiltPlan(config.output, about, used)


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


def plan_source(config: ExportConfig, report: Reporter) -> tuple[bytes, ExportedModel, PlanOptions]:
    """The ONNX file that plans are built from, what it says about itself, and how to build.

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


def describe_built(
    model: ExportedModel, options: PlanOptions, tensorrt: str, gpu: tuple[str, str] | None
) -> Sidecar:
    """The sidecar of a plan that is to be built, as far as it is known before.

    Args:
        model: what the ONNX file says about itself.
        options: how the plan is built.
        tensorrt: package and version.
        gpu: name and compute capability; None where plans are built for `capabilities`.
    """
    return Sidecar(
        model=replace(model, precision=options.precision),
        batches=options.batches,
        tensorrt=tensorrt,
        gpu=gpu,
        capabilities=options.capabilities,
        workspace=options.workspace,
    )


def _source(config: ExportConfig, report: Reporter) -> tuple[bytes, ExportedModel]:
    if not is_onnx(config.model):
        from odtk_ray.export.run import onnx_for_plan

        return onnx_for_plan(config, report)
    if config.int8:
        raise UsageError(
            "--int8 needs a checkpoint", "INT8 is written into the ONNX when it is exported"
        )
    with model_file(config.model) as local:
        about = read_exported(local)
        return Path(local).read_bytes(), about


def find_gpu() -> Gpu | None:
    """This machine's first GPU; None if none."""
    return next(iter(list_gpus()), None)
