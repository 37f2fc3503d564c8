"""Writes the files of an export: each appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from odtk_ray import storage
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, sidecar_path
from odtk_ray.config import ExportConfig
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts, named
from odtk_ray.storage.writable import check_file

_ENDINGS = (".onnx", ".plan")


@contextmanager
def writing(path: str) -> Iterator[str]:
    """Yield a name to write to; it becomes `path` if the block succeeds, or is removed.

    Raises:
        OdtkError: the storage refuses.
    """
    with _said(path), storage.writing(path) as part:
        yield part


def write_file(path: str, data: bytes) -> None:
    """Write a small file, local or behind a URI.

    Raises:
        OdtkError: the storage refuses.
    """
    with _said(path):
        storage.write_atomic(path, data)


def write_plan_files(path: str, plan: bytes, sidecar: str) -> None:
    """Write a plan and its sidecar, sidecar first: no plan exists without one.

    Raises:
        OdtkError: the storage refuses.
    """
    with _said(path):
        storage.write_together({sidecar_path(path): sidecar.encode(), path: plan})


@contextmanager
def _said(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        target = error.filename2 or path  # of a rename: a plan's sidecar may be what is in the way
        raise OdtkError(f"cannot write {target}", error.strerror or str(error)) from error


def check_output(config: ExportConfig) -> None:
    """Check that the target of an export can be written, and that it replaces nothing that is read.

    Raises:
        UsageError: its name has another ending, it is no local file, cannot be written, or is an
            input.
    """
    path = config.output
    if not path.lower().endswith(_ENDINGS):
        endings = " or ".join(_ENDINGS)
        raise UsageError(
            f"cannot export to {path}",
            f"its name does not end in {endings}",
            "--gpu-type all makes a folder of plans, one for each kind of GPU in the cluster",
        )
    if storage.is_uri(path):
        raise UsageError(f"cannot write {path}", "exports are written to local files")
    check_inputs_kept(config)
    check_file(path)


def check_inputs_kept(config: ExportConfig) -> None:
    """Check that an export replaces none of the files that it reads.

    Raises:
        UsageError: an output is an input, or two outputs are one file.
    """
    sidecar = sidecar_path(config.output) if is_tensorrt_plan(config.output) else None
    check_conflicts(
        [
            NamedFile("MODEL", config.model),
            *named("--calibration-images", config.calibration_images),
            *named("--calibration-annotations", config.calibration_annotations),
            *named("--check-images", config.check_images),
            *named("--classes", config.classes),
        ],
        [
            NamedFile("OUTPUT", config.output),
            *named("the plan's sidecar", sidecar),
            *named("--calibration-table", config.calibration_table),
            *named("--timing-cache", config.timing_cache),
        ],
    )
