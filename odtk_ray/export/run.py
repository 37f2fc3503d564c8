"""`odtk-ray export` on one page: read -> describe -> write -> check -> summary."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from odtk_ray.config import ExportConfig
from odtk_ray.engines.load import model_file
from odtk_ray.errors import UsageError
from odtk_ray.export.accuracy import LEAST_KEPT, Accuracy, measure_accuracy
from odtk_ray.export.check import Check, check_onnx, check_pictures
from odtk_ray.export.files import check_output, write_file, writing
from odtk_ray.export.int8 import check_int8, int8_ranges
from odtk_ray.export.onnx import describe_export, to_onnx
from odtk_ray.model.checkpoint import Checkpoint, load_checkpoint
from odtk_ray.model.exported import ExportedModel, read_exported
from odtk_ray.report import Reporter

if TYPE_CHECKING:
    from onnx import ModelProto

# Below this share of matched detections an export is said to be off. INT8 keeps more than that.
_LEAST_MATCHED = 0.97
_OTHERS = "FP32 (FP16 in a plan)"
_PROTOBUF_LIMIT = 2 << 30  # bytes; ONNX keeps larger weights in files of their own


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: the file.
        size: in bytes.
        about: what it says about itself.
        check: how far it is from PyTorch; None where ONNX Runtime is not installed.
        accuracy: what it costs in AP; None without annotations.
        convolutions: how many are quantised, and how many there are.
    """

    path: str
    size: int
    about: ExportedModel
    check: Check | None
    accuracy: Accuracy | None
    convolutions: tuple[int, int]

    def lines(self) -> list[str]:
        """The summary, for people."""
        about = self.about
        classes = f"{about.classes} class{'es' * (about.classes > 1)}"
        outputs = "raw outputs" if about.outputs == "raw" else "ends in detections"
        rows = [
            f"wrote {self.path} ({self.size / 1e6:.1f} MB): {', '.join(about.backbones)}, "
            f"{classes}, {about.size[0]}x{about.size[1]}, {about.precision.upper()}, {outputs}"
        ]
        if about.precision == "int8":
            quantised, count = self.convolutions
            rows.append(f"{quantised} of {count} convolutions in INT8, the others in {_OTHERS}")
        if self.check is not None:
            rows.append(self.check.line())
        if self.accuracy is not None:
            rows.append(self.accuracy.line())
        if not about.rotated:
            rows.append(f"next: odtk-ray infer {self.path} --images DIR")
        return rows


def export(config: ExportConfig, report: Reporter) -> Exported:
    """Exports a checkpoint to ONNX and checks what was written.

    Raises:
        UsageError: the model, the size or the target cannot be used; nothing was written.
        OdtkError: the file cannot be written; an earlier one of this name is still there.
    """
    check_output(config.output)
    check_settings(config)
    checkpoint, about = _describe(config)
    images = config.check_images or (config.calibration_images if config.int8 else None)
    pictures = check_pictures(images, about.size)
    model = _network(config, checkpoint, about, report)
    with writing(config.output) as part:
        _save(model, part)
        check, accuracy = _check(part, checkpoint, about, pictures, config, report)
    if check is not None:
        check = replace(check, made_up=images is None)
    _warn(check, accuracy, report)
    size = os.path.getsize(config.output)
    return Exported(
        config.output, size, read_exported(config.output), check, accuracy, _convolutions(model)
    )


def _warn(check: Check | None, accuracy: Accuracy | None, report: Reporter) -> None:
    """Says that an export is off; where there is AP, it decides."""
    if accuracy is not None:
        if accuracy.kept < LEAST_KEPT:
            report.warn(f"AP falls by {1 - accuracy.kept:.1%}: the export is off")
    elif check is not None and check.share < _LEAST_MATCHED:
        report.warn(
            f"only {check.share:.1%} of the detections match PyTorch's: the export is off "
            "(--calibration-annotations measures AP)"
        )


def _convolutions(model: ModelProto) -> tuple[int, int]:
    """How many convolutions take dequantised weights, and how many there are."""
    kinds = {output: node.op_type for node in model.graph.node for output in node.output}
    weights = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    return sum(kinds.get(name) == "DequantizeLinear" for name in weights), len(weights)


def onnx_for_plan(config: ExportConfig, report: Reporter) -> tuple[bytes, ExportedModel]:
    """The ONNX file that plans of a checkpoint are built from, in memory.

    Raises:
        UsageError: as `export`.
    """
    check_settings(config)
    checkpoint, about = _describe(config)
    model = _network(config, checkpoint, about, report)
    data: bytes = model.SerializeToString(deterministic=True)
    return data, replace(about, sha256=hashlib.sha256(data).hexdigest())


def _describe(config: ExportConfig) -> tuple[Checkpoint, ExportedModel]:
    with model_file(config.model) as local:
        checkpoint = load_checkpoint(local, config.anchors)
    about = describe_export(
        checkpoint, config.size, config.post, with_postprocess=config.with_postprocess
    )
    return checkpoint, replace(about, precision="int8" if config.int8 else "fp32")


def _network(
    config: ExportConfig, checkpoint: Checkpoint, about: ExportedModel, report: Reporter
) -> ModelProto:
    amax = _ranges(config, checkpoint, report) if config.int8 else None
    return to_onnx(checkpoint, about, config.opset, amax, config.int8_exclude)


def check_settings(config: ExportConfig) -> None:
    """Refuses settings that do not go together, before anything is read.

    Raises:
        UsageError: they do not.
    """
    if config.calibration_annotations and not (config.calibration_images or config.check_images):
        raise UsageError(
            "--calibration-annotations needs images",
            hint="--calibration-images or --check-images is the folder of its files",
        )
    if config.int8:
        check_int8(config)
    elif config.int8_exclude or config.calibration_images or config.calibration_table:
        raise UsageError("calibration and --int8-exclude are of use with --int8 only")
    try:
        import onnx  # noqa: F401 - needed below, and said here
    except ImportError as error:
        raise UsageError(
            "export needs the onnx package", str(error), "pip install 'odtk-ray[onnx]'"
        ) from error


def _ranges(config: ExportConfig, checkpoint: Checkpoint, report: Reporter) -> dict[str, float]:
    table, new = int8_ranges(config, checkpoint, report)
    if new and config.calibration_table is not None:
        write_file(config.calibration_table, table.to_json().encode())
        report.note(f"wrote calibration table {config.calibration_table}")
    return table.amax


def _save(model: ModelProto, path: str) -> None:
    if model.ByteSize() >= _PROTOBUF_LIMIT:
        raise UsageError("the model is too large for one ONNX file", "the limit is 2 GiB")
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def _check(
    path: str,
    checkpoint: Checkpoint,
    about: ExportedModel,
    pictures: list[NDArray[np.uint8]],
    config: ExportConfig,
    report: Reporter,
) -> tuple[Check | None, Accuracy | None]:
    try:
        import onnxruntime  # noqa: F401 - the check runs in it
    except ImportError:
        report.note("not checked against PyTorch: ONNX Runtime is not installed")
        return None, None
    accuracy = None
    if config.calibration_annotations is not None:
        images = config.calibration_images or config.check_images or "."
        annotations = config.calibration_annotations
        accuracy = measure_accuracy(path, checkpoint, about, images, annotations)
    return check_onnx(path, checkpoint, about, pictures), accuracy
