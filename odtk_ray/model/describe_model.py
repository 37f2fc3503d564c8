"""Describes a model of any kind as (name, text) rows for people."""

from __future__ import annotations

from dataclasses import replace

from odtk_ray.artifacts.describe_exported import (
    describe_engine_set,
    describe_exported,
    describe_tensorrt_plan,
)
from odtk_ray.artifacts.engine_set import is_engine_set, read_engine_set
from odtk_ray.artifacts.exported_model import is_onnx, read_exported
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, read_sidecar
from odtk_ray.settings import AnchorGeneration


def describe_model(path: str, anchors: AnchorGeneration) -> list[tuple[str, str]]:
    """Describe a checkpoint, exported model or engine set; only checkpoints need torch.

    Args:
        path: local path or URI.
        anchors: which generation of ODTK's anchors a checkpoint was trained with.

    Raises:
        UsageError: it cannot be used.
    """
    if is_engine_set(path):
        return describe_engine_set(path, read_engine_set(path))
    with model_file(path) as local:
        if is_tensorrt_plan(local):
            return describe_tensorrt_plan(path, read_sidecar(local))
        if is_onnx(local):
            return describe_exported(path, read_exported(local))
        from odtk_ray.model.checkpoint import describe_checkpoint, load_checkpoint

        return describe_checkpoint(replace(load_checkpoint(local, anchors), path=path))
