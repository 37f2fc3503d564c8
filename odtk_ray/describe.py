"""What a model is, whatever its kind, as (name, text) rows for people."""

from __future__ import annotations

from dataclasses import replace

from odtk_ray.config import AnchorGeneration
from odtk_ray.engines.load import model_file
from odtk_ray.engines.sets import is_engine_set, read_set
from odtk_ray.model.engine_set import describe_set
from odtk_ray.model.exported import describe_exported, is_onnx, read_exported
from odtk_ray.model.sidecar import describe_plan, is_plan, read_sidecar


def describe_model(path: str, anchors: AnchorGeneration) -> list[tuple[str, str]]:
    """What a checkpoint, exported model or engine set is; torch is imported for checkpoints only.

    Args:
        path: local path or URI.
        anchors: which generation of ODTK's anchors a checkpoint was trained with.

    Raises:
        UsageError: it cannot be used.
    """
    if is_engine_set(path):
        return describe_set(path, read_set(path))
    with model_file(path) as local:
        if is_plan(local):
            return describe_plan(path, read_sidecar(local))
        if is_onnx(local):
            return describe_exported(path, read_exported(local))
        from odtk_ray.model.checkpoint import describe, load_checkpoint

        return describe(replace(load_checkpoint(local, anchors), path=path))
