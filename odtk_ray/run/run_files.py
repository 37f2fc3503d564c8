"""The files of a run by their roles: what it reads, what it writes, and where side files lie."""

from __future__ import annotations

import json
import os
from typing import Any

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import is_engine_set
from odtk_ray.artifacts.sidecar import is_tensorrt_plan, sidecar_path
from odtk_ray.config import InferConfig
from odtk_ray.config.run_place import folder_beside
from odtk_ray.errors import UsageError
from odtk_ray.nearest import did_you_mean
from odtk_ray.run.output_formats import FORMATS
from odtk_ray.shards.run_plan import RUN_PLAN_FILE
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts, named
from odtk_ray.storage.writable import check_file, check_folder, check_writable

_LARGEST_SIDE_FILE = 64 << 20  # bytes; a larger file is somebody else's


def metrics_path(output: str) -> str:
    """Return the path of the metrics file: beside the first output, with its stem."""
    return f"{_stem(output)}.metrics.json"


def failures_path(output: str) -> str:
    """Return the path of the list of failed images: beside the first output, with its stem."""
    return f"{_stem(output)}.failures.jsonl"


def earlier_folder(config: InferConfig) -> str:
    """Return the path of the run folder that `--update` names, or that lies beside its output.

    Raises:
        UsageError: its storage does not say whether there is one.
    """
    if config.update is None or config.place.in_place:
        return config.place.kept
    try:
        named = storage.exists(storage.join(config.update, RUN_PLAN_FILE))
    except (OSError, ValueError, ImportError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"cannot read --update {config.update}", why) from error
    return config.update if named else folder_beside(config.update)


def check_files(config: InferConfig) -> None:
    """Check that a run can write its files, and that none of them is a file that it reads.

    Raises:
        UsageError: otherwise; nothing was written.
    """
    for path in config.output:
        if not path.endswith((*FORMATS, "/")):
            raise UsageError(
                f"unknown output format: {os.path.basename(path)}",
                f"the name must end in one of {', '.join(FORMATS)}",
                did_you_mean(os.path.splitext(path)[1], FORMATS),
            )
    check_conflicts(_reads(config), _writes(config))
    if config.place.in_place and storage.is_uri(config.run_folder):
        raise UsageError(
            f"cannot update {config.update} in place",
            "its run folder is on an object store, where nothing is renamed",
            "give another --output, and update that the next time; or a local --run-dir",
        )
    for path in (*config.output, *filter(None, [config.report, config.trace])):
        check_file(path)
    check_writable(config.run_folder)
    for folder in filter(None, [config.draw, config.crops]):
        check_folder(folder)
    _check_side_files(config.output[0])


def _reads(config: InferConfig) -> list[NamedFile]:
    model = NamedFile("MODEL", config.model, guarded=is_engine_set(config.model))
    sidecar = sidecar_path(config.model) if is_tensorrt_plan(config.model) else None
    return [
        model,
        *named("the plan's sidecar", sidecar),
        *named("--fallback", config.fallback),
        *named("--annotations", config.annotations),
        *named("--thresholds", config.thresholds),
        *named("--images", config.images),
        *named("--classes", config.classes),
        *_reads_earlier(config),
    ]


def _reads_earlier(config: InferConfig) -> list[NamedFile]:
    """Return what an update must leave as it is: in place the earlier outputs are its own."""
    if config.update is None:
        return []
    folder = NamedFile("the run folder of --update", earlier_folder(config), guarded=True)
    return [folder] if config.place.in_place else [folder, NamedFile("--update", config.update)]


def _writes(config: InferConfig) -> list[NamedFile]:
    first = config.output[0]
    return [
        *(NamedFile("--output", path) for path in config.output),
        NamedFile("the metrics file", metrics_path(first)),
        NamedFile("the list of failed images", failures_path(first)),
        NamedFile("--run-dir", config.run_folder, removed=True),
        *named("--draw", config.draw),
        *named("--crops", config.crops),
        *named("--report", config.report),
        *named("--trace", config.trace),
    ]


def _stem(output: str) -> str:
    """Return an output's path without the ending of its format."""
    folder, name = os.path.split(output)
    ending = next((e for e in sorted(FORMATS, key=len, reverse=True) if name.endswith(e)), "")
    stem = name[: len(name) - len(ending)] or "detections"  # a file called just `.json`
    return storage.join(folder, stem) if folder else stem


def _check_side_files(output: str) -> None:
    """Check that the side files replace nothing but those of an earlier run."""
    for path, keys in (
        (metrics_path(output), {"images_failed", "images_left_out"}),
        (failures_path(output), {"image_id", "file_name", "error"}),
    ):
        if not storage.is_uri(path) and os.path.lexists(path) and not _has_keys(path, keys):
            raise UsageError(
                f"{path} is not from an earlier run",
                "this run may have to replace it",
                "move it away, or give another --output",
            )


def _has_keys(path: str, keys: set[str]) -> bool:
    """Return whether a file's JSON object, or the one of its first line, has these keys."""
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    try:
        with open(path, encoding="utf-8") as stream:
            lines = path.endswith(".jsonl")
            text = stream.readline(_LARGEST_SIDE_FILE) if lines else stream.read(_LARGEST_SIDE_FILE)
        document: Any = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and keys <= document.keys()
