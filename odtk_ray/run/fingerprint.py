"""What a run's results depend on, and whether a resumed run is the one that was planned."""

from __future__ import annotations

import os
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any

from odtk_ray import __version__
from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.cluster.session import Fleet
from odtk_ray.config import InferConfig
from odtk_ray.engines.onnxruntime import import_onnxruntime
from odtk_ray.errors import UsageError
from odtk_ray.model.open import OpenedModel
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter
from odtk_ray.settings import RunSettings
from odtk_ray.shards.run_folder import RunFolder


def fingerprint(
    config: InferConfig, opened: OpenedModel, annotations: str, *, torch_free: bool
) -> RunSettings:
    """Return what must be equal for a resumed run to end with the bytes of an undisturbed one.

    Args:
        config: what the user asked for.
        opened: the model, and what it decides.
        annotations: hash of the annotation file; empty without one.
        torch_free: whether plans run, which need no torch and only one version of TensorRT each.
    """
    import PIL
    from PIL import features

    versions = {
        "odtk-ray": __version__,
        "pillow": PIL.__version__,
        "jpeg": str(features.version("jpg")),
    }
    if not torch_free:
        import torch

        versions["torch"] = torch.__version__
    if is_onnx(config.model):
        versions["onnxruntime"] = import_onnxruntime().__version__
    return RunSettings(
        model=opened.model.sha256,
        annotations=annotations,
        images=config.images if "://" in config.images else os.path.abspath(config.images),
        recursive=config.recursive,
        limit=config.limit,
        allow_missing=config.allow_missing,
        full_precision=opened.full_precision,
        compile=config.compile,
        fallback=config.fallback is not None,
        preprocessing=opened.preprocessing,
        postprocessing=opened.postprocessing,
        versions=versions,
    )


def check_resume(run: RunFolder, config: InferConfig, settings: RunSettings) -> None:
    """See that a resumed run is the run that was planned.

    Raises:
        UsageError: something that decides about the results differs; it is named.
    """
    planned = run.plan.settings
    wanted: dict[str, Any] = {
        f.name: getattr(settings, f.name) for f in fields(settings) if f.default is MISSING
    }
    if config.threads is not None:
        wanted["threads"] = config.threads
    if config.decoder and planned.decoder_kind != config.decoder:
        wanted["decoder"] = config.decoder
    for name, value in wanted.items():
        before = getattr(planned, name)
        if before != value:
            raise UsageError(
                f"cannot resume {run.path}: {name} differs",
                f"planned with {_short(before, value)}, now {_short(value, before)}",
                "use the same settings, or remove the folder and start again",
            )


def resume_run(run: RunFolder, fleet: Fleet, report: Reporter) -> RunFolder:
    """Take over an earlier run, once it is certain that this driver can go on with it.

    Raises:
        UsageError: it was planned for other hardware.
    """
    planned, found = run.plan.settings.device, fleet.device
    if planned != found:
        raise UsageError(
            f"cannot resume {run.path} here",
            f"it was planned for a {planned}, and the workers would be of kind {found}",
            "results of the two differ in the last bits: resume where it was started",
        )
    run.take_over()
    images = counted(len(run.plan.records), "image is", "images are")
    report.note(f"resuming: {run.images_done:,} of {images} done")
    return run


def _short(value: Any, other: Any) -> str:
    """A value for a message; of two groups of values only what differs."""
    if is_dataclass(value) and not isinstance(value, type):
        return _short(asdict(value), asdict(other))
    if isinstance(value, dict) and isinstance(other, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items() if other.get(k) != v)
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
