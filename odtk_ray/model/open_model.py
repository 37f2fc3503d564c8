"""Opens the model of a run, whatever its kind, and resolves the settings that it decides."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeAlias, cast

from odtk_ray.artifacts.exported_model import (
    ExportedModel,
    is_onnx,
    read_exported,
    unusable_model,
)
from odtk_ray.artifacts.input_size import check_size
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, read_sidecar
from odtk_ray.config import ExportConfig, InferConfig, chosen
from odtk_ray.errors import UsageError
from odtk_ray.options import flag_of
from odtk_ray.settings import AnchorGeneration, Postprocessing, Preprocessing

if TYPE_CHECKING:
    from odtk_ray.model.checkpoint import Checkpoint

Model: TypeAlias = "Checkpoint | ExportedModel"


@dataclass(frozen=True)
class OpenedModel:
    """A model, and the settings that it and the user decide together.

    Attributes:
        model: a checkpoint without its weights, or what an exported file says of itself.
        preprocessing: how pictures become its input.
        postprocessing: the thresholds behind its heads.
        full_precision: neither FP16 nor TF32 on GPUs.
        anchors: which generation of ODTK's anchors a checkpoint was trained with.
    """

    model: Model
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    full_precision: bool
    anchors: AnchorGeneration


def open_model(config: InferConfig, path: str) -> OpenedModel:
    """Read a checkpoint or an exported model, and resolve what depends on it.

    An exported model fixes size and precision, and brings defaults for post-processing.

    Args:
        config: what the user asked for.
        path: of the model's local file.

    Raises:
        UsageError: it cannot be used, or a setting contradicts it.
    """
    if is_onnx(path):
        about = read_exported(path)
        if about.outputs == "plugin":
            raise unusable_model(
                config.model,
                "its detections are computed by a plugin of TensorRT, not by ONNX Runtime",
                "build a plan of it, or export it without --plugin",
            )
        return resolve_settings(config, about)
    if is_tensorrt_plan(path):
        plan = read_sidecar(path)
        # The plan is what runs, so that its hash stands for the model.
        return resolve_settings(config, replace(plan.model, sha256=plan.plan_sha256))
    from odtk_ray.model.checkpoint import load_checkpoint

    # Its weights are the workers' business: the driver would hold them for the whole run.
    model = replace(load_checkpoint(path, config.anchors), state_dict={})
    if config.fit:
        _check_fit(config, config.fit)
    check_rotated(config, model)
    pre, post = config.preprocessing(), config.postprocessing()
    return OpenedModel(model, pre, post, config.full_precision, config.anchors)


def check_rotated(config: InferConfig | ExportConfig, model: Model) -> None:
    """Check that flags of rotated boxes are used with rotated models only.

    Raises:
        UsageError: it detects axis-aligned boxes.
    """
    asked = {"rotated_bbox": config.rotated_bbox, "rotated_nms": config.rotated_nms is not None}
    for name in (name for name, wanted in asked.items() if wanted and not model.rotated):
        raise UsageError(
            f"{flag_of(name)} does not fit {os.path.basename(config.model)}",
            "the model has no angles: it detects axis-aligned boxes",
        )


def _check_fit(config: InferConfig, fit: tuple[int, int]) -> None:
    for value, flag in ((config.resize, "--resize"), (config.max_size, "--max-size")):
        if value is not None:
            raise UsageError(f"--fit and {flag} contradict each other", hint="give one of them")
    check_size("--fit", *fit)


def resolve_settings(config: InferConfig, model: ExportedModel) -> OpenedModel:
    """Combine an exported model's settings with those that the user asked for.

    Raises:
        UsageError: a setting that the user gave contradicts the model.
    """
    check_rotated(config, model)
    short, long = sorted(model.size)
    stored, asked = asdict(model.post), chosen(config, Postprocessing)
    fixed: dict[str, object] = {"resize": short, "max_size": long, "fit": model.size}
    if model.ends_in_detections:
        fixed |= stored
    contradicted = [n for n, own in fixed.items() if getattr(config, n) not in (None, own)]
    if config.full_precision and model.precision != "fp32":
        contradicted.append("full_precision")
    if config.anchors not in ("auto", model.anchors):
        contradicted.append("anchors")
    for name in contradicted:
        flag, (height, width) = flag_of(name), model.size
        raise UsageError(
            f"{flag} contradicts {os.path.basename(config.model)}",
            f"it was exported for {height}x{width} in {model.precision.upper()}, "
            f"with {model.anchors} anchors"
            + (f" and {flag} {stored[name]}" if name in stored else ""),
            f"leave {flag} out, or export the model again",
        )
    return OpenedModel(
        model,
        replace(config.preprocessing(), resize=short, max_size=long, fit=model.size),
        Postprocessing(**stored | asked),
        model.precision == "fp32",
        cast(AnchorGeneration, model.anchors),
    )
