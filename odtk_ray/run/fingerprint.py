"""What a run's results depend on, and whether a resumed run is the one that was planned."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

from odtk_ray import __version__
from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.config import InferConfig
from odtk_ray.engines.load import decoder_kind
from odtk_ray.engines.onnxruntime import import_onnxruntime
from odtk_ray.errors import UsageError
from odtk_ray.shards.run_folder import RunFolder


def fingerprint(
    config: InferConfig, model: str, annotations: str, *, torch_free: bool
) -> dict[str, Any]:
    """What must be equal for a resumed run to end with the bytes of an undisturbed one.

    Args:
        config: what the user asked for, and what the model decides.
        model: hash of the model; of an engine set that of all its plans.
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
    settings = {
        "model": model,
        "annotations": annotations,
        "images": config.images if "://" in config.images else os.path.abspath(config.images),
        "recursive": config.recursive,
        "limit": config.limit,
        "allow_missing": config.allow_missing,
        "full_precision": config.full_precision,
        "compile": config.compile,
        "fallback": config.fallback is not None,
        "preprocessing": asdict(config.pre),
        "postprocessing": asdict(config.post),
        "versions": versions,
    }
    return dict(json.loads(json.dumps(settings)))  # as the plan's file gives it back


def check_resume(run: RunFolder, config: InferConfig, settings: dict[str, Any]) -> None:
    """See that a resumed run is the run that was planned.

    Raises:
        UsageError: something that decides about the results differs; it is named.
    """
    planned = run.plan.settings
    wanted = settings if config.threads is None else settings | {"threads": config.threads}
    if config.decoder and decoder_kind(planned["decoder"]) != config.decoder:
        wanted = wanted | {"decoder": config.decoder}
    for name, value in wanted.items():
        if planned.get(name) != value:
            raise UsageError(
                f"cannot resume {run.path}: {name} differs",
                f"planned with {_short(planned.get(name), value)}, "
                f"now {_short(value, planned.get(name))}",
                "use the same settings, or remove the folder and start again",
            )


def _short(value: object, other: object) -> str:
    """A value for a message; of two dictionaries only what differs."""
    if isinstance(value, dict) and isinstance(other, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items() if other.get(k) != v)
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
