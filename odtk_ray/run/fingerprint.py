"""The settings that a run's results depend on, and the check that a resumed run has the same."""

from __future__ import annotations

import os
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any

from odtk_ray import __version__
from odtk_ray.artifacts.exported_model import ExportedModel, is_onnx
from odtk_ray.config import InferConfig
from odtk_ray.datasets.image_sources import Dataset
from odtk_ray.engines.onnxruntime import import_onnxruntime
from odtk_ray.errors import UsageError
from odtk_ray.model.open_model import Model, OpenedModel
from odtk_ray.reporter import Reporter
from odtk_ray.settings import RunSettings
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.worker.fleet import Fleet


def fingerprint(config: InferConfig, opened: OpenedModel, annotations: str) -> RunSettings:
    """Return the settings that a resumed run must repeat, so that its outputs have the same bytes.

    Only packages that compute have their version in it, installed or not: a run that was begun
    without torch goes on where torch is. A TensorRT plan names its own TensorRT.

    Args:
        config: the user's settings.
        opened: the model, and the settings that it decides.
        annotations: hash of the annotation file; empty without one.

    Raises:
        UsageError: a package that computes is missing.
    """
    import PIL
    from PIL import features

    versions = {
        "odtk-ray": __version__,
        "pillow": PIL.__version__,
        "jpeg": str(features.version("jpg")),
    }
    if is_onnx(config.model):
        versions["onnxruntime"] = import_onnxruntime().__version__
    if _computes_with_torch(config, opened.model):
        versions["torch"] = _torch_version(config.model)
    return RunSettings(
        model=opened.model.sha256,
        annotations=annotations,
        images=config.images if "://" in config.images else os.path.abspath(config.images),
        recursive=config.recursive,
        limit=config.limit,
        allow_missing=config.allow_missing,
        full_precision=opened.full_precision,
        fallback=config.fallback is not None,
        preprocessing=opened.preprocessing,
        postprocessing=opened.postprocessing,
        versions=versions,
    )


def _computes_with_torch(config: InferConfig, model: Model) -> bool:
    """Return whether torch is the network, or decodes what comes out of it."""
    if config.fallback is not None or not isinstance(model, ExportedModel):
        return True
    return is_onnx(config.model) and model.outputs == "raw"


def _torch_version(model: str) -> str:
    try:
        import torch
    except ImportError as error:
        raise UsageError(
            f"{os.path.basename(model)} needs PyTorch, which decodes its raw outputs",
            str(error),
            "export it again, with --with-postprocess; or pip install torch",
        ) from error
    return str(torch.__version__)  # its own type would import torch elsewhere


def check_resume(run: RunFolder, config: InferConfig, settings: RunSettings) -> None:
    """Check that a resumed run has the settings that it was planned with.

    Raises:
        UsageError: a setting that the results depend on differs; it is named.
    """
    planned = run.plan.settings
    wanted: dict[str, Any] = {
        f.name: getattr(settings, f.name) for f in fields(settings) if f.default is MISSING
    }
    if config.threads_per_worker is not None:
        wanted["threads"] = config.threads_per_worker
    if config.decoder and planned.decoder_kind != config.decoder:
        wanted["decoder"] = config.decoder
    begun, now = planned.versions, wanted.pop("versions")
    for name, value in wanted.items():
        before = getattr(planned, name)
        if before != value:
            same = "the same settings"
            if name == "model":
                same = "the same model, of an engine set with the same --precision and --fit"
            raise UsageError(
                f"cannot resume {run.path}: {name} differs",
                f"planned with {short(before, value)}, now {short(value, before)}",
                f"use {same}, or remove the folder and start again",
            )
    if begun != now:
        raise UsageError(
            f"cannot resume {run.path} with other versions, which may compute other results",
            f"it was begun with {short(begun, now)}, and this is {short(now, begun)}",
            "finish it with the versions that began it, or remove the folder and start again",
        )


def check_limits(run: RunFolder, limits: tuple[float, ...]) -> None:
    """Check that a resumed run keeps the detections of the same classes and scores.

    Raises:
        UsageError: it does not.
    """
    if run.plan.settings.class_limits != limits:
        raise UsageError(
            f"cannot resume {run.path}: --thresholds or --only-classes differs",
            hint="use the same settings, or remove the folder and start again",
        )


def same_images(dataset: Dataset, run: RunFolder) -> bool:
    """Return whether an annotation file still names the images and categories of a run.

    A ground truth that was mended then needs no new detections.
    """
    planned, columns = run.plan, ["image_id", "path", "entry"]
    return (
        dataset.records.select(columns).equals(planned.records.select(columns))
        and dataset.categories == planned.outputs["categories"]
        and (dataset.has_truth, dataset.missing)
        == (planned.outputs["has_truth"], planned.outputs["missing"])
    )


def check_device(run: RunFolder, fleet: Fleet) -> None:
    """Check that an earlier run was planned for the device that the workers compute on.

    Raises:
        UsageError: it was planned for other hardware.
    """
    planned, found = run.plan.settings.device, fleet.device
    if planned != found:
        raise UsageError(
            f"cannot resume {run.path} here",
            f"it was planned for a {planned}, and the workers here are {found} workers",
            "results of the two differ in the last bits: resume it on the same kind of workers",
        )


def resume_run(run: RunFolder, fleet: Fleet, reporter: Reporter) -> RunFolder:
    """Take over an earlier run.

    Raises:
        UsageError: as `check_device`.
    """
    check_device(run, fleet)
    run.take_over()
    reporter.note(f"resuming: {run.images_done:,} of {len(run.plan.records):,} images are done")
    return run


def short(value: Any, other: Any) -> str:
    """Format a value for a message; of two groups of values only what differs from the other."""
    if is_dataclass(value) and not isinstance(value, type):
        return short(asdict(value), asdict(other))
    if isinstance(value, dict) and isinstance(other, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items() if other.get(k) != v) or "none"
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
