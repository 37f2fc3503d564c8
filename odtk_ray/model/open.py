"""The model of a run, whatever its kind, and the settings that it decides."""

from __future__ import annotations

import os
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, TypeAlias, cast

from odtk_ray.artifacts.exported_model import ExportedModel, check_size, is_onnx, read_exported
from odtk_ray.artifacts.sidecar import is_plan, read_sidecar
from odtk_ray.config import AnchorGeneration, ExportConfig, InferConfig, Postprocessing
from odtk_ray.errors import UsageError

if TYPE_CHECKING:
    from odtk_ray.model.checkpoint import Checkpoint

Model: TypeAlias = "Checkpoint | ExportedModel"


def open_model(config: InferConfig) -> tuple[Model, InferConfig]:
    """Reads the model and settles what depends on it.

    An exported model fixes size and precision, and brings defaults for post-processing.

    Returns:
        The model, and the settings with which it is run.

    Raises:
        UsageError: it cannot be used, or a setting contradicts it.
    """
    model: Model
    if is_onnx(config.model):
        model = read_exported(config.model)
        config = settle(config, model)
    elif is_plan(config.model):
        plan = read_sidecar(config.model)
        # The plan is what runs, so that its hash stands for the model.
        model = replace(plan.model, sha256=plan.plan_sha256)
        config = settle(config, model)
    else:
        from odtk_ray.model.checkpoint import load_checkpoint

        # Its weights are the workers' business: the driver would hold them for the whole run.
        model = replace(load_checkpoint(config.model, config.anchors), state_dict={})
        if config.pre.fit:
            _check_fit(config, config.pre.fit)
        check_rotated(config, model)
    return model, config


def check_rotated(config: InferConfig | ExportConfig, model: Model) -> None:
    """Refuses flags of rotated boxes where the model says otherwise.

    Raises:
        UsageError: it detects axis-aligned boxes.
    """
    stated = {"rotated_bbox": config.rotated_bbox, "rotated_nms": "rotated_nms" in config.given}
    for name, asked in stated.items():
        if asked and not model.rotated:
            raise UsageError(
                f"--{name.replace('_', '-')} does not fit {os.path.basename(config.model)}",
                "the model has no angles: it detects axis-aligned boxes",
            )


def _check_fit(config: InferConfig, fit: tuple[int, int]) -> None:
    for name, flag in (("resize", "--resize"), ("max_size", "--max-size")):
        if name in config.given:
            raise UsageError(f"--fit and {flag} contradict each other", hint="give one of them")
    check_size("--fit", *fit)


def settle(config: InferConfig, model: ExportedModel) -> InferConfig:
    """What an exported model decides about a run.

    Raises:
        UsageError: a setting that the user stated contradicts it.
    """
    check_rotated(config, model)
    height, width = model.size
    short, long = sorted(model.size)
    fixed = [
        ("resize", "--resize", config.pre.resize, short),
        ("max_size", "--max-size", config.pre.max_size, long),
        ("fit", "--fit", config.pre.fit, model.size),
        ("full_precision", "--full-precision", True, model.precision == "fp32"),
        ("anchors", "--anchors", config.anchors, model.anchors),
    ]
    asked, stored = asdict(config.post), asdict(model.post)
    if model.outputs == "detections":
        fixed += [(k, f"--{k.replace('_', '-')}", asked[k], stored[k]) for k in asked]
    for name, flag, value, own in fixed:
        if name in config.given and value != own and (name, value) != ("anchors", "auto"):
            raise UsageError(
                f"{flag} contradicts {os.path.basename(config.model)}",
                f"it was exported for {height}x{width} in {model.precision.upper()}, "
                f"with {model.anchors} anchors" + (f" and {flag} {own}" if name in asked else ""),
                f"leave {flag} out, or export the model again",
            )
    chosen = {f.name: asked[f.name] for f in fields(Postprocessing) if f.name in config.given}
    return replace(
        config,
        pre=replace(config.pre, resize=short, max_size=long, fit=model.size),
        post=Postprocessing(**stored | chosen),
        full_precision=model.precision == "fp32",
        anchors=cast(AnchorGeneration, model.anchors),
    )
