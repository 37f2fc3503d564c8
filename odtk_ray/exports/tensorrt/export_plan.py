"""Builds and checks one TensorRT plan with its sidecar, for itself or for an engine set."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from odtk_ray.artifacts.exported_model import ExportedModel, Precision
from odtk_ray.artifacts.plan_figures import PlanFigures
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.config import ExportConfig
from odtk_ray.engines.local_gpus import list_gpus
from odtk_ray.engines.tensorrt_package import package_version
from odtk_ray.exports.check.check_export import CheckResult, Unavailable, check_export
from odtk_ray.exports.check.layer_precisions import LayerPrecisions, graph_layers, read_layers
from odtk_ray.exports.check.runners import PlanOpener, RunningPlan, open_tensorrt_plan
from odtk_ray.exports.check.speed import images_per_second
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.output_files import check_output, write_plan_files
from odtk_ray.exports.tensorrt.build_plan import (
    PlanOptions,
    build_plan,
    builder_package,
    is_strongly_typed,
)
from odtk_ray.exports.tensorrt.plan_source import PlanSource, plan_source
from odtk_ray.images.image_sizes import read_sizes
from odtk_ray.reporter import Reporter

_THROUGHPUT_BATCH = 8  # what `odtk-ray infer` launches on a GPU by default
_WELL_USED = 0.85  # share of the input's pixels
_MOST_HEADERS = 1000  # read to find that share


@dataclass(frozen=True)
class BuiltPlan:
    """The result of building a plan.

    Attributes:
        path: of the plan.
        about: its sidecar.
        layers: the precisions in which layers compute; None if unknown.
        check_result: how much it differs from its source.
        figures: what was measured of it.
        hints: suggestions to make it faster.
    """

    path: str
    about: Sidecar
    layers: LayerPrecisions | None
    check_result: CheckResult
    figures: PlanFigures
    hints: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Format the summary for people."""
        about, model = self.about, self.about.model
        least, tuned, greatest = about.batches
        targets = [*(about.gpu or ()), *about.capabilities]
        bound = " ".join(targets) or "the GPUs that TensorRT chooses by itself"
        boxes = "rotated boxes, " if model.rotated else ""
        ends = ", ends in detections" if model.ends_in_detections else ""
        return [
            f"wrote {self.path} ({about.plan_bytes / 1e6:.1f} MB): {', '.join(model.backbones)}, "
            f"{boxes}{model.size[0]}x{model.size[1]}, {model.precision.upper()}, "
            f"batch {least} to {greatest}, tuned for {tuned}{ends}",
            f"for {bound}, with {about.tensorrt}",
            *self.findings(),
            *self._speed(),
            *self.hints,
            f"next: odtk-ray infer {self.path} --images DIR",
        ]

    def _speed(self) -> list[str]:
        figures = self.figures
        if figures.images_per_second is None:
            return []
        return [f"{figures.images_per_second:.1f} img/s here, in launches of {figures.batch}"]

    def findings(self) -> list[str]:
        """Format what the build and its check found, for people."""
        layers = [] if self.layers is None else [self.layers.line()]
        return [*layers, *self.check_result.lines()]


def open_here(path: str, about: Sidecar, batch: int) -> AbstractContextManager[RunningPlan]:
    """Open a plan on a GPU of this machine, if it has the one that the plan was built for."""
    gpus = list_gpus()
    if not gpus:
        raise Unavailable("this machine has no GPU")
    # Without such a GPU the first one is used: its error message says more.
    return open_tensorrt_plan(path, about, batch, gpus.index(about.gpu) if about.gpu in gpus else 0)


def export_plan(
    config: ExportConfig, reporter: Reporter, open_built: PlanOpener = open_here
) -> BuiltPlan:
    """Build a plan of a checkpoint or of an ONNX file, and check it if it can run here.

    Args:
        config: the user's settings.
        reporter: receives progress, and a warning if the plan differs too much.
        open_built: opens the plan.

    Raises:
        UsageError: the model, a setting or TensorRT cannot be used; nothing was written.
        OdtkError: the build failed, or the files cannot be written.
    """
    check_output(config)
    trt = builder_package(config.compute_capability)
    lists = ImageLists()
    source = plan_source(config, lists, reporter)
    gpu = None if config.compute_capability else next(iter(list_gpus()), None)
    about = describe_built(source.model, source.options, package_version(trt), gpu)
    built = build_checked(config.output, about, source, open_built, reporter.note)
    for text in built.check_result.warnings():
        reporter.warn(text)
    return replace(built, hints=plan_hints(config, source, lists))


def build_checked(
    path: str,
    about: Sidecar,
    source: PlanSource,
    open_built: PlanOpener,
    progress: Callable[[str], None] = lambda _: None,
) -> BuiltPlan:
    """Build a plan on this machine, write it with its sidecar, and check it if it can run here.

    Args:
        path: of the plan.
        about: its sidecar, as far as it is known before.
        source: the ONNX file and options to build it from.
        open_built: opens it.
        progress: receives the phases of the build.

    Raises:
        UsageError: the precision or a capability is not available here.
        OdtkError: TensorRT cannot build it, or the files cannot be written.
    """
    options = source.options
    started = time.monotonic()
    plan = build_plan(
        source.onnx_file, source.model, options, name=about.identity, progress=progress
    )
    figures = PlanFigures(build_seconds=time.monotonic() - started)
    about = replace(about, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_bytes=len(plan))
    write_plan_files(path, plan, about.to_json())
    trt = builder_package(options.capabilities)
    typed = is_strongly_typed(trt) or options.precision == "fp32"
    layers = _graph_layers(source.onnx_file, options.precision) if typed else None
    check_data, least, greatest = source.check_data, about.batches[0], about.batches[2]
    batch = min(max(_THROUGHPUT_BATCH, least), greatest)
    try:
        with open_built(path, about, max(batch, check_data.batch)) as running:
            layers = read_layers(running.information()) or layers
            check_result = check_export(check_data, running, source.open_reference)
            speed = images_per_second(running, check_data.pictures, about.model.size, batch)
            figures = replace(_figures(check_result, figures), images_per_second=speed, batch=batch)
    except Unavailable as error:
        check_result = CheckResult(None, why=str(error))
    return BuiltPlan(path, about, layers, check_result, figures)


def _figures(found: CheckResult, figures: PlanFigures) -> PlanFigures:
    """Add what a check has found to the figures of a plan."""
    comparison, accuracy = found.comparison, found.accuracy
    if comparison is not None and comparison.counted:
        figures = replace(figures, matched=comparison.share)
    if accuracy is not None and accuracy.images:
        figures = replace(figures, ap=accuracy.exported, reference_ap=accuracy.reference)
    return figures


def describe_built(
    model: ExportedModel, options: PlanOptions, tensorrt: str, gpu: tuple[str, str] | None
) -> Sidecar:
    """Return the sidecar of a plan that will be built, as far as it is known before.

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


def plan_hints(config: ExportConfig, source: PlanSource, lists: ImageLists) -> list[str]:
    """Suggest what would make plans faster, for people."""
    least, tuned, greatest = source.options.batches
    rows = []
    if tuned == 1 < greatest:
        rows.append(
            "tuned for single images; for throughput: "
            f"--dynamic-batch-opts {least} {min(_THROUGHPUT_BATCH, greatest)} {greatest}"
        )
    images, size = config.check_images or config.calibration_images, source.model.size
    used = None if images is None else pixels_used(lists.paths(images), size)
    if used is not None and used < _WELL_USED:
        rows.append(
            f"the images fill {used:.0%} of the {size[0]}x{size[1]} pixels: a --size of "
            "their shape would be faster"
        )
    return rows


def _graph_layers(onnx_file: bytes, precision: Precision) -> LayerPrecisions | None:
    """Return the precisions in the graph, which TensorRT must keep; None without onnx."""
    try:
        import onnx
    except ImportError:
        return None
    others = "FP32" if precision == "fp32" else "FP16"
    return graph_layers(onnx.load_from_string(onnx_file), others)


def pixels_used(paths: list[str], size: tuple[int, int]) -> float | None:
    """Compute the mean share of a network input that images fill when they are fitted into it.

    Args:
        paths: of the images; sizes are read from the headers of some.
        size: height and width of the input in pixels.

    Returns:
        None where no header can be read.
    """
    sizes = read_sizes(paths[:: -(-len(paths) // _MOST_HEADERS)], "ignore").astype(np.float64)
    width, height = sizes[sizes.min(axis=1) > 0].T
    if not len(width):
        return None
    scale = np.minimum(size[0] / height, size[1] / width)
    return float((width * height * scale**2).mean() / (size[0] * size[1]))
