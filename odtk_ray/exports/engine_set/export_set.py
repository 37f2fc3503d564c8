"""`odtk-ray export --gpu-type` on one page: find GPUs -> export once -> build and check -> list."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import EngineSet
from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.artifacts.plan_figures import plan_table
from odtk_ray.artifacts.sidecar import is_tensorrt_plan
from odtk_ray.cluster.await_nodes import FoundNodes, await_nodes
from odtk_ray.cluster.node_tasks import Call, run_on_nodes
from odtk_ray.cluster.session import session
from odtk_ray.config import ExportConfig
from odtk_ray.engines.local_gpus import InspectMachine, inspect_machine
from odtk_ray.errors import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, OdtkError, UsageError
from odtk_ray.exports.check.runners import PlanOpener
from odtk_ray.exports.engine_set.build_on_node import build_into, remove_parts
from odtk_ray.exports.engine_set.engines_json import find_plan, list_plans
from odtk_ray.exports.engine_set.wanted_plans import PlanResult, WantedPlan, find_wanted_plans
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.int8.calibration_table import read_table
from odtk_ray.exports.output_files import check_inputs_kept
from odtk_ray.exports.tensorrt.export_plan import BuiltPlan, open_here, plan_hints
from odtk_ray.exports.tensorrt.plan_source import PlanSource, plan_source
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter

# Of sets that were begun when a set had one size.
_FIRST_TABLE = "calibration.json"


@dataclass(frozen=True)
class BuiltSet:
    """The result of an export to an engine set.

    Attributes:
        path: of the set, as it was given.
        rows: one for each plan that was asked for.
        engines: what the set has now; None if nothing could be built.
        hints: what would make the plans faster.
    """

    path: str
    rows: list[PlanResult]
    engines: EngineSet | None
    hints: list[str]

    @property
    def exit_code(self) -> int:
        """0, or 1 without any plan, or 3 if some failed."""
        if failed := self.counts()["failed"]:
            return EXIT_FAILED if failed == len(self.rows) else EXIT_PARTIAL
        return EXIT_OK

    def counts(self) -> dict[str, int]:
        """Return the counts that a program wants."""
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in ("built", "kept", "failed")}

    def lines(self) -> list[str]:
        """Format the summary for people."""
        lines = [line for row in self.rows for line in row.lines()]
        if self.engines is not None and self.exit_code != EXIT_FAILED:
            engines = self.engines
            facts = [*engines.model.backbones, *map(str, engines.variants)]
            lines += [
                f"{self.path} has {counted(len(engines.engines), 'plan')}: {', '.join(facts)}",
                *plan_table(engines.engines, engines.figures),
                *self.hints,
                f"next: odtk-ray infer {self.path} --images DIR",
            ]
        if self.exit_code != EXIT_OK:
            lines.append("the same command builds what is missing, once the cause is gone")
        return lines


def export_set(
    config: ExportConfig,
    reporter: Reporter,
    inspect: InspectMachine = inspect_machine,
    open_built: PlanOpener = open_here,
) -> BuiltSet:
    """Build and check a plan for every kind of GPU that is asked for, each on a node that has one.

    Args:
        config: the user's settings; `output` is the set's folder.
        reporter: receives progress and remarks.
        inspect: finds the GPUs of a process.
        open_built: opens a plan where it was built.

    Raises:
        UsageError: a setting or the model cannot be used.
        OdtkError: no node has any of these GPUs, or the set cannot be written.
    """
    check_set(config)
    folder, lists = storage.absolute(config.output), ImageLists()
    with session(config.address, 1):
        found = await_nodes(config.gpu_type, config.wait_for_nodes, inspect, reporter)
        absent = _absent_types(found, config.gpu_type, reporter)
        if not storage.is_uri(folder):
            os.makedirs(folder, exist_ok=True)
        sources = [
            _plan_source(_with_table(variant, folder), lists, reporter)
            for variant in config.variants()
        ]
        wanted, rows = find_wanted_plans(found.nodes, config.gpu_type, sources, reporter)
        rows += absent
        rows += build_missing(folder, wanted, inspect, open_built, reporter)
    engines, rows = list_plans(folder, wanted, rows, sources, reporter)
    hints = dict.fromkeys(hint for s in sources for hint in plan_hints(config, s, lists))
    return BuiltSet(config.output, rows, engines, [*hints])


def _plan_source(config: ExportConfig, lists: ImageLists, reporter: Reporter) -> PlanSource:
    """Prepare what the plans of one precision and size are made of.

    Raises:
        UsageError: the model or a setting cannot be used.
    """
    source = plan_source(config, lists, reporter)
    if source.model.ends_in_detections:
        raise UsageError(
            f"a set cannot have plans of {config.model}",
            "it ends in detections, and plans of a set have raw outputs",
            "export it without --with-postprocess",
        )
    return source


def _absent_types(found: FoundNodes, types: Sequence[str], reporter: Reporter) -> list[PlanResult]:
    """Return a failure for each type that no node has; the others are built.

    Raises:
        OdtkError: no node has any of them.
    """
    if len(found.missing) == len(types):
        refusal = found.refusal()
        raise OdtkError(refusal.what, refusal.why, refusal.hint)
    if found.missing:
        reporter.warn(f"{found.refusal().what}: the others are built")
    why = f"no live node has such a GPU; {found.advice}"
    return [PlanResult(kind, "failed", why=why) for kind in found.missing]


def check_set(config: ExportConfig) -> None:
    """Check that the settings apply to engine sets.

    Raises:
        UsageError: they do not, or the folder cannot be one.
    """
    path = config.output
    if is_tensorrt_plan(path) or is_onnx(path):
        raise UsageError(f"--gpu-type makes a folder of plans, and {path} is the name of a file")
    check_inputs_kept(config)
    folder = storage.absolute(path)
    if not storage.is_uri(folder):
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise UsageError(f"cannot write {path}", "it is a file")
        if not os.path.isdir(os.path.dirname(folder)):
            raise UsageError(f"cannot write {path}", f"there is no {os.path.dirname(folder)}")
    if config.calibration_table is not None and len(config.sizes) > 1:
        raise UsageError(
            "--calibration-table does not go with several --size",
            "a table is measured at one size",
            "leave it out: the set keeps a table for each size",
        )
    for flag, given in (
        ("--with-postprocess", config.with_postprocess),
        ("--timing-cache", config.timing_cache is not None),
        ("--compute-capability", config.compute_capability),
    ):
        if given:
            raise UsageError(
                f"{flag} does not go with --gpu-type",
                "plans of a set have raw outputs and their own timings; each is for its node's GPU",
            )


def build_missing(
    folder: str,
    wanted: dict[str, WantedPlan],
    inspect: InspectMachine,
    open_built: PlanOpener,
    reporter: Reporter,
) -> list[PlanResult]:
    """Build the plans that do not exist yet, or that are of another model or other settings."""
    kept = [key for key, plan in wanted.items() if find_plan(folder, plan.about)]
    missing = {key: plan for key, plan in wanted.items() if key not in kept}
    rows = [PlanResult(key, "kept") for key in kept]
    if kept:
        reporter.note(f"kept: {', '.join(kept)}")
    if not missing:
        return rows
    reporter.note(f"building: {', '.join(missing)}")
    tag = secrets.token_hex(4)
    same = (tag, inspect, open_built)
    calls = [
        Call(key, plan.nodes, (folder, plan.about, *same), plan.gpus, plan.source)
        for key, plan in missing.items()
    ]
    try:
        outcomes = run_on_nodes(build_into, calls, "building", reporter)
    finally:
        remove_parts(folder, tag)
    return rows + [_row(key, outcome, reporter) for key, outcome in outcomes.items()]


def _row(
    key: str, outcome: tuple[BuiltPlan | None, float] | OdtkError, reporter: Reporter
) -> PlanResult:
    """Convert the outcome of a build to a result; warn if the plan differs too much."""
    if isinstance(outcome, OdtkError):
        return PlanResult(key, "failed", why=str(outcome).replace("\n ", ";"))
    built, seconds = outcome
    if built is None:
        return PlanResult(key, "kept")
    for text in built.check_result.warnings():
        reporter.warn(f"{key}: {text}")
    return PlanResult(key, "built", seconds, findings=built.findings(), figures=built.figures)


def _with_table(config: ExportConfig, folder: str) -> ExportConfig:
    """Keep the calibration table in the set, so that the same command gives the same ONNX file.

    Each size has one of its own; earlier versions had one for the only size.
    """
    if not config.int8 or config.calibration_table is not None or is_onnx(config.model):
        return config
    height, width = config.input_size
    table = storage.join(folder, f"calibration_{height}x{width}.json")
    first = storage.join(folder, _FIRST_TABLE)
    if storage.exists(first) and not storage.exists(table):
        table = first if read_table(first).size == config.input_size else table
    return replace(config, calibration_table=table)
