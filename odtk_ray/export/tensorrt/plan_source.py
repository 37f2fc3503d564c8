"""What plans are made of and judged on: a checkpoint's ONNX file, or one that is there already.

The latter needs no torch, as on a Jetson.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from odtk_ray import storage
from odtk_ray.artifacts.exported_model import ExportedModel, is_onnx, read_exported
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.config import ExportConfig, stated
from odtk_ray.errors import UsageError
from odtk_ray.export.check.check_export import Material, Opener, gather
from odtk_ray.export.check.runners import Reference
from odtk_ray.export.image_lists import ImageLists
from odtk_ray.export.tensorrt.builder import PlanOptions, check_plan
from odtk_ray.model.open import check_rotated
from odtk_ray.options import flag_of
from odtk_ray.reporter import Reporter

if TYPE_CHECKING:
    from odtk_ray.model.checkpoint import Checkpoint

# Settings that an ONNX file has in it.
_DECIDED = frozenset(
    """size with_postprocess opset anchors threshold top_n nms detections rotated_nms
    calibration_images calibration_batches calibration_batch_size calibration_table
    calibration_method recalibrate int8_exclude""".split()
)


@dataclass(frozen=True)
class Source:
    """What a plan is made of; a node that builds it is sent this, and need not have torch.

    Attributes:
        onnx_file: its content.
        model: what it says about itself.
        options: how plans are built.
        material: what they are judged on.
        open_reference: opens what they are compared with.
    """

    onnx_file: bytes
    model: ExportedModel
    options: PlanOptions
    material: Material
    open_reference: Opener


def plan_source(config: ExportConfig, lists: ImageLists, report: Reporter) -> Source:
    """Export the checkpoint in memory, or read the ONNX file, and what the plan is judged on.

    Args:
        config: what to do.
        lists: of images.
        report: told about progress.

    Raises:
        UsageError: the model, a setting or the images cannot be used.
    """
    options = PlanOptions(
        precision="fp32" if config.full_precision else "int8" if config.int8 else "fp16",
        batches=config.dynamic_batch_opts or (1, 1, 16),
        workspace=None if config.workspace is None else config.workspace << 20,
        timing_cache=config.timing_cache,
        capabilities=tuple(dict.fromkeys(config.compute_capability)),
        verbose=config.verbose,
    )
    model, make, checkpoint = _onnx_file(config, lists, report)
    if model.precision == "int8" and not config.full_precision:
        options = replace(options, precision="int8")
    check_plan(model, options)
    material = gather(config, model, lists)
    data = make()  # last: a calibration takes minutes
    model = replace(model, sha256=hashlib.sha256(data).hexdigest())
    # Nodes have a working directory of their own.
    reference = Reference(storage.absolute(config.model), model, checkpoint)
    return Source(data, model, options, material, reference)


def _onnx_file(
    config: ExportConfig, lists: ImageLists, report: Reporter
) -> tuple[ExportedModel, Callable[[], bytes], Checkpoint | None]:
    """What the ONNX file says about itself, what makes it, and the checkpoint behind it."""
    if not is_onnx(config.model):
        try:
            from odtk_ray.export.onnx.export_onnx import onnx_for_plan
        except ImportError as error:
            raise UsageError(
                "a plan of a checkpoint needs PyTorch",
                str(error),
                "export it to ONNX where PyTorch is, and build the plan of that here",
            ) from error
        return onnx_for_plan(config, lists, report)
    with model_file(config.model) as local:
        about = read_exported(local)
        _check_flags(config, about)
        data = Path(local).read_bytes()
    return about, lambda: data, None


def _check_flags(config: ExportConfig, about: ExportedModel) -> None:
    """Refuses flags that say what was decided when an ONNX file was exported."""
    if config.int8 and about.precision != "int8":
        raise UsageError(
            "--int8 needs a checkpoint", "INT8 is written into the ONNX when it is exported"
        )
    check_rotated(config, about)
    same = {"size"} if config.size == about.size else set()
    if odd := stated(config, _DECIDED - same):
        flag = flag_of(odd[0])
        height, width = about.size
        raise UsageError(
            f"{flag} is for checkpoints",
            f"{os.path.basename(config.model)} was exported for {height}x{width} in "
            f"{about.precision.upper()} already",
            f"leave {flag} out, or export the checkpoint again",
        )
