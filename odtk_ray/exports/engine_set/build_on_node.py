"""Builds one plan of an engine set, on a node of the cluster that has the GPU for it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import plan_path, read_plan_and_sidecar
from odtk_ray.artifacts.plan_key import key_of
from odtk_ray.artifacts.sidecar import Sidecar, sidecar_path
from odtk_ray.engines.local_gpus import InspectMachine
from odtk_ray.errors import OdtkError
from odtk_ray.exports.check.runners import PlanOpener
from odtk_ray.exports.engine_set.shared_timings import keep_timings, read_timings
from odtk_ray.exports.tensorrt.export_plan import BuiltPlan, build_checked
from odtk_ray.exports.tensorrt.plan_source import PlanSource
from odtk_ray.storage.retry import with_retries

# CUDA shows a process one slice: that others have another profile is found out here.
_ONE_PROFILE = "the slices of a node's GPUs (MIG) must all have one profile"


def build_into(
    folder: str,
    about: Sidecar,
    tag: str,
    inspect: InspectMachine,
    open_built: PlanOpener,
    source: PlanSource,
) -> tuple[BuiltPlan | None, float]:
    """Build a plan, check it if it can run on this node, and add it to a set.

    Args:
        folder: of the set, path or URI.
        about: the plan's sidecar, as far as it is known before the build.
        tag: of temporary files, for `remove_parts`.
        inspect: finds the GPU.
        open_built: makes the plan run.
        source: what it is made of.

    Returns:
        what was built, None where another export was quicker, and the seconds that it took.

    Raises:
        OdtkError: the node is not what it was, has no such folder, or TensorRT cannot build.
        OSError: the plan cannot be written.
    """
    if not storage.is_uri(folder) and not os.path.isdir(folder):
        raise OdtkError(
            f"its node has no folder {folder}", "engine sets lie on storage that every node sees"
        )
    machine = inspect(about.gpu)
    if about.gpu not in machine.gpus or machine.tensorrt != about.tensorrt:
        found = ", ".join(map(str, machine.gpus)) or "no GPU"
        hint = _ONE_PROFILE if any(gpu.is_slice for gpu in machine.gpus) else ""
        raise OdtkError("its node has changed", f"it now has {found} and {machine.tensorrt}", hint)
    key = key_of(about)
    plan = plan_path(folder, key)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="odtk-ray-") as scratch:
        cache = os.path.join(scratch, "timing")
        timings, merged = b"", list[str]()
        with contextlib.suppress(OSError):  # a help, and no part of the set
            timings, merged = read_timings(folder, about)
        Path(cache).write_bytes(timings)
        source = replace(source, options=replace(source.options, timing_cache=cache))
        built = build_checked(plan_path(scratch, key), about, source, open_built)
        seconds = time.monotonic() - started
        here = with_retries(lambda: read_plan_and_sidecar(folder, key))
        if here is not None and here.identity == about.identity:
            return None, seconds
        content = Path(built.path).read_bytes()
        both = {sidecar_path(plan): built.about.to_json().encode(), plan: content}
        with_retries(lambda: storage.write_together(both, tag))
        with contextlib.suppress(OSError):
            keep_timings(folder, about, Path(cache).read_bytes(), merged, tag)
    return replace(built, path=plan), seconds


def remove_parts(folder: str, tag: str) -> None:
    """Remove the temporary files of builds that may have been killed; object stores have none."""
    if storage.is_uri(folder):
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.endswith(f".{tag}.tmp"):
                os.unlink(os.path.join(folder, name))
