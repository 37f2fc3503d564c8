"""`odtk-ray export` to ONNX on one page: read -> describe -> write -> check -> summary."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from odtk_ray.artifacts.exported_model import ExportedModel, Precision, is_onnx, read_exported
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import is_tensorrt_plan
from odtk_ray.config import OF_INT8, ExportConfig, stated
from odtk_ray.datasets.class_names import read_class_names
from odtk_ray.errors import UsageError
from odtk_ray.exports.check.check_export import (
    CheckResult,
    Unavailable,
    check_export,
    load_check_data,
)
from odtk_ray.exports.check.layer_precisions import LayerPrecisions, graph_layers
from odtk_ray.exports.check.runners import open_checkpoint, open_onnx
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.int8.ranges import check_int8, int8_ranges
from odtk_ray.exports.onnx.half_types import to_half
from odtk_ray.exports.onnx.write_graph import DEFAULT_OPSET, describe_export, to_onnx
from odtk_ray.exports.output_files import check_output, write_file, writing
from odtk_ray.exports.traced_network import trace_checkpoint
from odtk_ray.model.checkpoint import Checkpoint, load_checkpoint
from odtk_ray.model.open_model import check_rotated
from odtk_ray.options import flag_of
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter

if TYPE_CHECKING:
    from onnx import ModelProto

# Settings that mean nothing for an ONNX file.
_OF_PLANS = frozenset("dynamic_batch_opts workspace timing_cache compute_capability".split())

_PROTOBUF_LIMIT = 2 << 30  # bytes; ONNX keeps larger weights in files of their own


@dataclass(frozen=True)
class Exported:
    """The result of an export to ONNX.

    Attributes:
        path: the file.
        size: in bytes.
        about: what it says about itself.
        opset: version of ONNX's operators.
        layers: in which precision convolutions are.
        check_result: how far it is from PyTorch.
    """

    path: str
    size: int
    about: ExportedModel
    opset: int
    layers: LayerPrecisions
    check_result: CheckResult

    def lines(self) -> list[str]:
        """Format the summary for people."""
        about = self.about
        classes = counted(about.classes, "class", "classes")
        outputs = "raw outputs" if about.outputs == "raw" else "ends in detections"
        boxes = "rotated boxes, " if about.rotated else ""
        return [
            f"wrote {self.path} ({self.size / 1e6:.1f} MB): {', '.join(about.backbones)}, "
            f"{classes}, {boxes}{about.size[0]}x{about.size[1]}, {about.precision.upper()}, "
            f"{outputs}, opset {self.opset}",
            *self.findings(),
            self._next(),
        ]

    def _next(self) -> str:
        if self.about.outputs == "plugin":
            return f"next: odtk-ray export {self.path} MODEL.plan, where TensorRT is"
        return f"next: odtk-ray infer {self.path} --images DIR"

    def findings(self) -> list[str]:
        """Format what the export and its check found, for people."""
        return [self.layers.line(), *self.check_result.lines()]


def export(config: ExportConfig, reporter: Reporter) -> Exported:
    """Export a checkpoint to ONNX, and check the file.

    Raises:
        UsageError: the model, the size or the target cannot be used; nothing was written.
        OdtkError: the file cannot be written; an earlier one of this name is still there.
    """
    check_output(config)
    check_settings(config)
    checkpoint, about = _describe(config)
    lists = ImageLists()
    check_data = load_check_data(config, about, lists)
    model = _network(config, checkpoint, about, lists, reporter)
    with writing(config.output) as part:
        _save(model, part)
        try:
            with open_onnx(part, about, check_data.batch) as exported:
                check_result = check_export(
                    check_data, exported, functools.partial(open_checkpoint, checkpoint, about)
                )
        except Unavailable as error:
            check_result = CheckResult(None, why=str(error))
    for text in check_result.warnings():
        reporter.warn(text)
    size, written = os.path.getsize(config.output), read_exported(config.output)
    layers = graph_layers(model, "FP16" if config.half else "FP32")
    opset = model.opset_import[0].version
    return Exported(config.output, size, written, opset, layers, check_result)


def onnx_for_plan(
    config: ExportConfig, lists: ImageLists, reporter: Reporter
) -> tuple[ExportedModel, Callable[[], bytes], Checkpoint]:
    """Prepare the ONNX file that plans of a checkpoint are built from.

    Returns:
        what it says about itself, what makes it, and the checkpoint.

    Raises:
        UsageError: as `export`; making it raises for the calibration's settings.
    """
    check_settings(config)
    checkpoint, about = _describe(config)

    def make() -> bytes:
        model = _network(config, checkpoint, about, lists, reporter)
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    return about, make, checkpoint


def _describe(config: ExportConfig) -> tuple[Checkpoint, ExportedModel]:
    with model_file(config.model) as local:
        checkpoint = load_checkpoint(local, config.anchors)
    check_rotated(config, checkpoint)
    if config.classes is not None:
        names = read_class_names(config.classes, checkpoint.classes)
        checkpoint = replace(checkpoint, class_names=names)
    about = describe_export(
        checkpoint,
        config.input_size,
        config.postprocessing(),
        "plugin" if config.plugin else "detections" if config.with_postprocess else "raw",
    )
    precision: Precision = "int8" if config.int8 else "fp16" if config.half else "fp32"
    std = (1.0, 1.0, 1.0) if config.std_in_graph else about.std
    return checkpoint, replace(about, precision=precision, std=std)


def _network(
    config: ExportConfig,
    checkpoint: Checkpoint,
    about: ExportedModel,
    lists: ImageLists,
    reporter: Reporter,
) -> ModelProto:
    network, amax = trace_checkpoint(checkpoint), None
    if config.int8:
        table, new = int8_ranges(config, checkpoint.sha256, network, lists, reporter)
        if new and config.calibration_table is not None:
            write_file(config.calibration_table, table.to_json().encode())
            reporter.note(f"wrote calibration table {config.calibration_table}")
        amax = table.amax
    model = to_onnx(network, about, config.opset or DEFAULT_OPSET, amax, config.int8_exclude)
    return to_half(model) if config.half else model


def check_settings(config: ExportConfig) -> None:
    """Check that the settings go together, before anything is read.

    Raises:
        UsageError: they do not, or the model is no checkpoint.
    """
    if is_onnx(config.model) or is_tensorrt_plan(config.model):
        raise UsageError(
            f"cannot export {config.model}",
            "it is an exported model",
            "export its checkpoint; of an .onnx file a .plan can be built",
        )
    if config.int8:
        check_int8(config)
    elif stated(config, OF_INT8):
        raise UsageError("options of calibration, and --int8-exclude, need --int8")
    if config.half and not is_onnx(config.output):
        raise UsageError(
            "--half is for ONNX files", hint="leave it out: plans are FP16 unless --full-precision"
        )
    if is_onnx(config.output) and (of_plans := stated(config, _OF_PLANS)):
        raise UsageError(
            f"{flag_of(of_plans[0])} is for plans", f"{config.output} is not a .plan file"
        )
    try:
        import onnx  # noqa: F401 - needed below, and said here
    except ImportError as error:
        raise UsageError(
            "export needs the onnx package", str(error), "pip install 'odtk-ray[onnx]'"
        ) from error


def _save(model: ModelProto, path: str) -> None:
    if model.ByteSize() >= _PROTOBUF_LIMIT:
        raise UsageError("the model is too large for one ONNX file", "the limit is 2 GiB")
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
