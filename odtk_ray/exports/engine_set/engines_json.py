"""Writes engines.json after an export: plans that were built or kept, and others that still fit."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import (
    SET_FILE,
    EngineSet,
    parse_engine_set,
    read_plan_and_sidecar,
)
from odtk_ray.artifacts.plan_figures import PlanFigures
from odtk_ray.artifacts.plan_key import key_of, variant_of
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.errors import UsageError
from odtk_ray.exports.engine_set.wanted_plans import PlanResult, WantedPlan
from odtk_ray.exports.output_files import write_file
from odtk_ray.exports.tensorrt.export_plan import describe_built
from odtk_ray.exports.tensorrt.plan_source import PlanSource
from odtk_ray.reporter import Reporter
from odtk_ray.storage.retry import with_retries

# Looks, a second apart, at a plan that is not what was written: another export may be at it, or a
# network file system may need a moment to show it here.
_LOOKS = 15


def list_plans(
    folder: str,
    wanted: dict[str, WantedPlan],
    rows: Sequence[PlanResult],
    sources: Sequence[PlanSource],
    reporter: Reporter,
) -> tuple[EngineSet | None, list[PlanResult]]:
    """Write engines.json with the plans that were built or kept, and others that still fit.

    Args:
        folder: of the set.
        wanted: the plans that were asked for, by key.
        rows: what became of them.
        sources: what they are made of, one for each precision and size.
        reporter: told what is no longer listed.

    Returns:
        the set, None if it has no plan, and the rows as they turned out.
    """
    final: list[PlanResult] = []
    plans: list[Sidecar] = []
    for row in rows:
        found = None if row.state == "failed" else find_plan(folder, wanted[row.key].about, _LOOKS)
        if found is not None:
            plans.append(found)
            final.append(replace(row, size=found.plan_bytes))
        elif row.state == "failed":
            final.append(row)
        else:
            why = f"it is not in {folder}: another export writes there, or its node sees another"
            final.append(replace(row, state="failed", why=why))
    if not plans:
        return None, final
    old = _read_old(folder, reporter)
    others = [about for key, about in old.engines.items() if key not in wanted]
    plans += _still_fitting(folder, others, [plan.about for plan in wanted.values()], sources)
    engines = EngineSet.of(plans, _figures(plans, rows, old))
    for key in old.engines.keys() - engines.engines.keys():
        reporter.note(f"no longer listed: {key}: it has another model, other settings or a "
                    "TensorRT that no node has")  # fmt: skip
    if engines != old:
        write_file(storage.join(folder, SET_FILE), engines.to_json().encode())
    return engines, final


def _figures(
    plans: Sequence[Sidecar], rows: Sequence[PlanResult], old: EngineSet
) -> dict[str, PlanFigures]:
    """Return what is known of plans: of those that are kept what engines.json has."""
    same = [about for about in plans if old.engines.get(key_of(about)) == about]
    kept = {key_of(about): old.figures.get(key_of(about)) for about in same}
    found = kept | {row.key: row.figures for row in rows if row.state == "built"}
    return {key: figures for key, figures in found.items() if figures is not None}


def _read_old(folder: str, reporter: Reporter) -> EngineSet:
    try:
        path = storage.join(folder, SET_FILE)
        return parse_engine_set(folder, with_retries(lambda: storage.read_bytes(path)))
    except FileNotFoundError:
        return EngineSet({})
    except UsageError as error:
        reporter.warn(f"{SET_FILE} is written again: {error.why}")
        return EngineSet({})


def _still_fitting(
    folder: str,
    others: Sequence[Sidecar],
    wanted: Sequence[Sidecar],
    sources: Sequence[PlanSource],
) -> Iterator[Sidecar]:
    """Yield plans of the same model and settings that this export did not ask for.

    Of a GPU that it asked for, those of a TensorRT that no node has are left out.
    """
    gpus = {about.gpu for about in wanted}
    machines = {(about.gpu, about.tensorrt) for about in wanted}
    for about in others:
        if about.gpu in gpus and (about.gpu, about.tensorrt) not in machines:
            continue
        options = [describe_built(s.model, s.options, about.tensorrt, about.gpu) for s in sources]
        same = [now for now in options if variant_of(now) == variant_of(about)]
        if not same and _of_any_variant(about) != _of_any_variant(options[0]):
            continue
        if (found := find_plan(folder, same[0] if same else about)) is not None:
            yield found


def _of_any_variant(about: Sidecar) -> Sidecar:
    """Return what a plan shares with those of other precisions and sizes: checkpoint, settings."""
    model = replace(about.model, precision="fp32", size=(1, 1), sha256="")
    return replace(about, model=model, plan_sha256="", plan_bytes=0)


def find_plan(folder: str, about: Sidecar, looks: int = 1) -> Sidecar | None:
    """Return the sidecar of a plan that exists, is whole and has the right settings; else None.

    Args:
        folder: of the set.
        about: its sidecar, as far as it is known before a build.
        looks: how often to look, a second apart.
    """
    for look in range(looks):
        if look:
            time.sleep(1.0)
        if not storage.is_uri(folder):
            os.listdir(folder)  # NFS remembers for a minute what was not there, unless it is asked
        found = with_retries(lambda: read_plan_and_sidecar(folder, key_of(about)))
        if found is not None and found.identity == about.identity:
            return found
    return None
