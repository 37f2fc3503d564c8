"""`odtk-ray export --triton` on one page: check -> export, or take what was exported -> describe.

    DIR/NAME/config.pbtxt
    DIR/NAME/labels.txt
    DIR/NAME/1/model.onnx, or model.plan with its sidecar

A folder appears whole: Triton may be looking for new models all the time.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

from odtk_ray import storage
from odtk_ray.artifacts.exported_model import ExportedModel, is_onnx, read_exported
from odtk_ray.artifacts.model_file import model_file
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, read_sidecar, sidecar_path
from odtk_ray.config import ExportConfig, stated
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.exports.output_files import write_file
from odtk_ray.exports.triton.model_config import LABELS, labels, model_config
from odtk_ray.options import flag_of
from odtk_ray.reporter import Reporter
from odtk_ray.storage.nearest_path import nearest_path

_VERSION = "1"  # Triton serves the highest version of a model
_ONNX_BATCH = 16  # an ONNX file takes any batch; this is the greatest of plans by default
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class TritonModel:
    """The result of an export for Triton.

    Attributes:
        path: of the model's folder in the repository.
        file: of the model, in it.
        size: of that file in bytes.
        about: what it says about itself.
        max_batch: images that Triton joins to a batch at most.
        findings: what the export found, for people; empty where the file was there before.
    """

    path: str
    file: str
    size: int
    about: ExportedModel
    max_batch: int
    findings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Format the summary for people."""
        about = self.about
        return [
            f"wrote {self.path}: {self.file} ({self.size / 1e6:.1f} MB), "
            f"{', '.join(about.backbones)}, {about.size[0]}x{about.size[1]}, "
            f"{about.precision.upper()}, batches of up to {self.max_batch}",
            *self.findings,
            f"next: tritonserver --model-repository {os.path.dirname(self.path)}",
        ]


def export_triton(config: ExportConfig, reporter: Reporter) -> TritonModel:
    """Write an entry of Triton's model repository: of a checkpoint, an ONNX file or a plan.

    A checkpoint is exported to ONNX with post-processing, and checked. The others must end in
    detections, and are copied.

    Raises:
        UsageError: the model, a setting or the name cannot be used; nothing was written.
        OdtkError: the folder cannot be written.
    """
    target = _target(config)
    exported = is_onnx(config.model) or is_tensorrt_plan(config.model)
    fill = _copy if exported else _export
    if exported:
        _check_settings(config)
    try:
        with storage.making_folder(target) as part:
            os.mkdir(os.path.join(part, _VERSION))
            made = fill(config, part, reporter)
            for file, text in (
                ("config.pbtxt", model_config(str(config.triton), made.about, *_served(made))),
                (LABELS, labels(made.about)),
            ):
                write_file(os.path.join(part, file), text.encode())
    except OSError as error:
        raise OdtkError(f"cannot write {target}", error.strerror or str(error)) from error
    return replace(made, path=target)


def _target(config: ExportConfig) -> str:
    """Return the folder to write.

    Raises:
        UsageError: the name is none, or there is such a folder already.
    """
    name, repository = str(config.triton), config.output
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--triton {name} is no name for a model",
            "it may have letters, digits, _, - and .",
        )
    if storage.is_uri(repository) or is_onnx(repository) or is_tensorrt_plan(repository):
        raise UsageError(
            f"cannot write {repository}", "with --triton it is a local folder, of many models"
        )
    target, above = os.path.join(repository, name), os.path.dirname(storage.absolute(repository))
    if not os.path.isdir(above):
        found = nearest_path(above)
        raise UsageError(
            f"cannot write {repository}",
            f"there is no folder {above}",
            f"did you mean {found}?" if found else "",
        )
    if os.path.lexists(repository) and not os.path.isdir(repository):
        raise UsageError(f"cannot write {repository}", "it is a file")
    if os.path.lexists(target):
        raise UsageError(
            f"cannot write {target}",
            "it is there already, and a server may be using it",
            "give another name, or remove the folder",
        )
    return target


def _check_settings(config: ExportConfig) -> None:
    """Check that nothing is asked of a model that was exported before."""
    names = {field.name for field in fields(config)} - {"model", "output", "triton"}
    if odd := stated(config, names):
        raise UsageError(
            f"{flag_of(odd[0])} is for checkpoints",
            f"{os.path.basename(config.model)} was exported already, and is only copied",
            "leave it out, or export the checkpoint again",
        )


def _export(config: ExportConfig, part: str, reporter: Reporter) -> TritonModel:
    from odtk_ray.exports.onnx.export_onnx import export

    path = os.path.join(part, _VERSION, "model.onnx")
    written = export(replace(config, output=path, triton=None, with_postprocess=True), reporter)
    return TritonModel(
        "", "model.onnx", written.size, written.about, _ONNX_BATCH, tuple(written.findings())
    )


def _copy(config: ExportConfig, part: str, reporter: Reporter) -> TritonModel:
    with model_file(config.model) as local:
        about, max_batch = _describe(local)
        if about.outputs == "raw":
            raise UsageError(
                f"cannot serve {config.model}",
                "it has raw outputs, which every client would have to decode",
                "export it with --with-postprocess",
            )
        name = "model.plan" if is_tensorrt_plan(local) else "model.onnx"
        path = os.path.join(part, _VERSION, name)
        data = Path(local).read_bytes()
        write_file(path, data)
        if is_tensorrt_plan(local):
            write_file(sidecar_path(path), Path(sidecar_path(local)).read_bytes())
    return TritonModel("", name, len(data), about, max_batch)


def _describe(path: str) -> tuple[ExportedModel, int]:
    """Return what an exported model says about itself, and its greatest batch."""
    if is_onnx(path):
        model = read_exported(path)
        if model.outputs == "plugin":
            raise UsageError(
                f"cannot serve {path}",
                "its detections are computed by a plugin of TensorRT, not by ONNX Runtime",
                "build a plan of it, and give that to --triton",
            )
        return model, _ONNX_BATCH
    about = read_sidecar(path)
    if about.tensorrt.split()[0] != "tensorrt":
        raise UsageError(
            f"cannot serve {path}",
            f"it is a plan of {about.tensorrt}, which Triton's backend does not load",
        )
    least, _, greatest = about.batches
    if least > 1:
        raise UsageError(
            f"cannot serve {path}",
            f"the plan takes batches of {least} and more, and a request may have one image",
            "build it with --dynamic-batch-opts 1 8 16",
        )
    return about.model, greatest


def _served(made: TritonModel) -> tuple[str, int]:
    """Return Triton's backend of the file, and the greatest batch."""
    return "tensorrt" if is_tensorrt_plan(made.file) else "onnxruntime", made.max_batch
