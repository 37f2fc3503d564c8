"""One plan of an engine set, built on a node of the cluster that has the GPU for it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from odtk_ray.data import storage
from odtk_ray.data.patience import patiently
from odtk_ray.engines.devices import Detect
from odtk_ray.engines.sets import plan_of, read_pair
from odtk_ray.errors import OdtkError
from odtk_ray.export.plan import PlanOptions, build_plan
from odtk_ray.model.engine_set import key_of
from odtk_ray.model.exported import ExportedModel
from odtk_ray.model.sidecar import Sidecar, sidecar_path


def build_into(
    folder: str,
    about: Sidecar,
    model: ExportedModel,
    options: PlanOptions,
    tag: str,
    detect: Detect,
    onnx_file: bytes,
) -> tuple[bool, float]:
    """Builds a plan and puts it into a set.

    Args:
        folder: of the set, path or URI.
        about: the plan's sidecar, as far as it is known before the build.
        model: what the ONNX file says about itself.
        options: how the plan is built.
        tag: of temporary files, for `remove_parts`.
        detect: finds the GPU.
        onnx_file: what it is built from.

    Returns:
        whether the plan was written, since another export may have been quicker, and the seconds
        that the build took.

    Raises:
        OdtkError: the node is not what it was, has no such folder, or TensorRT cannot build.
        OSError: the plan cannot be written.
    """
    if not storage.is_uri(folder) and not os.path.isdir(folder):
        raise OdtkError(
            f"its node has no folder {folder}", "engine sets lie on storage that every node sees"
        )
    machine = detect(about.gpu)
    if about.gpu not in machine.gpus or machine.tensorrt != about.tensorrt:
        found = ", ".join(map(str, machine.gpus)) or "no GPU"
        raise OdtkError("its node has changed", f"it has {found} and {machine.tensorrt} now")
    key = key_of(about)
    timings = storage.join(folder, f"{key}.timing")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="odtk-ray-") as scratch:
        cache = os.path.join(scratch, "timing")
        with contextlib.suppress(OSError):
            Path(cache).write_bytes(storage.read_bytes(timings))
        options = replace(options, timing_cache=cache)
        plan = build_plan(onnx_file, model, options, name=about.identity)
        seconds = time.monotonic() - started
        here = patiently(lambda: read_pair(folder, key))
        if here is not None and here.identity == about.identity:
            return False, seconds
        whole = replace(about, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_bytes=len(plan))
        patiently(lambda: _publish(plan_of(folder, key), whole, plan, tag))
        with contextlib.suppress(OSError):  # a help, and no part of the set
            storage.write_atomic(timings, Path(cache).read_bytes(), tag)
    return True, seconds


def remove_parts(folder: str, key: str, tag: str) -> None:
    """Remove what a build that was killed may have left of its files."""
    if storage.is_uri(folder):
        return  # an object is there when all of it is
    plan = plan_of(folder, key)
    for path in (plan, sidecar_path(plan), storage.join(folder, f"{key}.timing")):
        with contextlib.suppress(OSError):
            os.unlink(storage.part_of(path, tag))


def _publish(path: str, about: Sidecar, plan: bytes, tag: str) -> None:
    """The sidecar first, so that a plan is never there without it."""
    beside, text = sidecar_path(path), about.to_json().encode()
    if storage.is_uri(path):
        storage.write_atomic(beside, text)
        storage.write_atomic(path, plan)
        return
    part = storage.part_of(path, tag)
    try:
        # What takes time and room comes before anything that is there is replaced.
        storage.write_synced(part, plan)
        storage.write_atomic(beside, text, tag)
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
    storage.sync_folder(os.path.dirname(path))
