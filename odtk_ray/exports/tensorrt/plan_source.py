"""Prepares what plans are built from: a checkpoint exported in memory, or an ONNX file.

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
from odtk_ray.config import OF_INT8, ExportConfig, stated
from odtk_ray.errors import UsageError
from odtk_ray.exports.check.check_export import CheckData, Opener, load_check_data
from odtk_ray.exports.check.runners import Reference
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.tensorrt.build_plan import PlanOptions, check_plan
from odtk_ray.model.open_model import check_rotated
from odtk_ray.options import flag_of
from odtk_ray.reporter import Reporter

if TYPE_CHECKING:
    from odtk_ray.model.checkpoint import Checkpoint

# Settings that are fixed in an ONNX file.
_DECIDED = OF_INT8 | frozenset(
    """size with_postprocess plugin half std_in_graph opset anchors classes threshold top_n nms
    detections rotated_nms""".split()
)


@dataclass(frozen=True)
class PlanSource:
    """The ONNX file and options that plans are built from; nodes need no torch to build them.

    Attributes:
        onnx_file: content of the ONNX file.
        model: its description.
        options: how plans are built.
        check_data: pictures and annotations to check plans with.
        open_reference: opens the model to compare plans with.
    """

    onnx_file: bytes
    model: ExportedModel
    options: PlanOptions
    check_data: CheckData
    open_reference: Opener


def plan_source(config: ExportConfig, lists: ImageLists, reporter: Reporter) -> PlanSource:
    """Export the checkpoint in memory, or read the ONNX file; load the data of the check.

    Args:
        config: the user's settings.
        lists: of images.
        reporter: receives progress.

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
    model, make, checkpoint = _onnx_file(config, lists, reporter)
    if model.precision == "int8" and not (config.full_precision or config.precision):
        options = replace(options, precision="int8")
    check_plan(model, options)
    check_data = load_check_data(config, model, lists)
    data = make()  # last: a calibration takes minutes
    model = replace(model, sha256=hashlib.sha256(data).hexdigest())
    # Nodes have a working directory of their own.
    reference = Reference(storage.absolute(config.model), model, checkpoint)
    return PlanSource(data, model, options, check_data, reference)


def _onnx_file(
    config: ExportConfig, lists: ImageLists, reporter: Reporter
) -> tuple[ExportedModel, Callable[[], bytes], Checkpoint | None]:
    """Return the ONNX file's description, a function that makes it, and its checkpoint."""
    if not is_onnx(config.model):
        try:
            from odtk_ray.exports.onnx.export_onnx import onnx_for_plan
        except ImportError as error:
            raise UsageError(
                "a plan of a checkpoint needs PyTorch",
                str(error),
                "export it to ONNX where PyTorch is installed, and build the plan from that here",
            ) from error
        return onnx_for_plan(config, lists, reporter)
    with model_file(config.model) as local:
        about = read_exported(local)
        _check_flags(config, about)
        data = Path(local).read_bytes()
    return about, lambda: data, None


def _check_flags(config: ExportConfig, about: ExportedModel) -> None:
    """Check that no flag repeats what was decided when the ONNX file was exported."""
    if config.int8 and about.precision != "int8":
        raise UsageError(
            "--int8 needs a checkpoint", "INT8 is written into the ONNX when it is exported"
        )
    check_rotated(config, about)
    same = {"size"} if config.sizes == (about.size,) else set()
    if odd := stated(config, _DECIDED - same):
        flag = flag_of(odd[0])
        height, width = about.size
        raise UsageError(
            f"{flag} is for checkpoints",
            f"{os.path.basename(config.model)} was exported for {height}x{width} in "
            f"{about.precision.upper()} already",
            f"leave {flag} out, or export the checkpoint again",
        )
