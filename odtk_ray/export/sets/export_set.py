"""`odtk-ray export --gpu-type` on one page: find -> export once -> build, check -> list -> say."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from dataclasses import dataclass, replace

from odtk_ray import storage
from odtk_ray.artifacts.engine_set import EngineSet
from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.artifacts.sidecar import is_plan
from odtk_ray.cluster.gpu_nodes import find_nodes
from odtk_ray.cluster.node_tasks import Call, run_on_nodes
from odtk_ray.cluster.session import session
from odtk_ray.config import ExportConfig
from odtk_ray.engines.local_gpus import Detect, detect_machine
from odtk_ray.errors import EXIT_FAILED, EXIT_OK, EXIT_PARTIAL, OdtkError, UsageError
from odtk_ray.export.check.runners import PlanOpener
from odtk_ray.export.image_lists import ImageLists
from odtk_ray.export.sets.build_on_node import build_into, remove_parts
from odtk_ray.export.sets.set_file import find_plan, list_plans
from odtk_ray.export.sets.wanted_plans import Order, Row, place_orders
from odtk_ray.export.tensorrt.export_plan import BuiltPlan, open_here, plan_hints
from odtk_ray.export.tensorrt.plan_source import Source, plan_source
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter

_TABLE = "calibration.json"


@dataclass(frozen=True)
class BuiltSet:
    """What an export to an engine set did.

    Attributes:
        path: of the set, as it was given.
        rows: one for each plan that was asked for.
        engines: what the set has now; None if nothing could be built.
        hints: what would make the plans faster.
    """

    path: str
    rows: list[Row]
    engines: EngineSet | None
    hints: list[str]

    @property
    def exit_code(self) -> int:
        """0, or 1 without any plan, or 3 where some failed."""
        if failed := self.counts()["failed"]:
            return EXIT_FAILED if failed == len(self.rows) else EXIT_PARTIAL
        return EXIT_OK

    def counts(self) -> dict[str, int]:
        """The figures that a program wants."""
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in ("built", "kept", "failed")}

    def lines(self) -> list[str]:
        """The summary, for people."""
        lines = [line for row in self.rows for line in row.lines()]
        if self.engines is not None and self.exit_code != EXIT_FAILED:
            model, count = self.engines.model, len(self.engines.engines)
            lines += [
                f"{self.path} has {counted(count, 'plan')}: {', '.join(model.backbones)}, "
                f"{model.size[0]}x{model.size[1]}, {model.precision.upper()}",
                *self.hints,
                f"next: odtk-ray infer {self.path} --images DIR",
            ]
        if self.exit_code != EXIT_OK:
            lines.append("the same command builds what is missing, once the cause is gone")
        return lines


def export_set(
    config: ExportConfig,
    report: Reporter,
    detect: Detect = detect_machine,
    open_built: PlanOpener = open_here,
) -> BuiltSet:
    """Builds a plan for every kind of GPU that is asked for, and checks it, on a node that has one.

    Args:
        config: what to do; `output` is the set's folder.
        report: told about what goes on.
        detect: finds the GPUs of a process.
        open_built: makes a plan run where it was built.

    Raises:
        UsageError: a setting or the model cannot be used, or no node has such a GPU.
        OdtkError: the set cannot be written.
    """
    check_set(config)
    folder, lists = storage.absolute(config.output), ImageLists()
    with session(config.address, 1):
        nodes = find_nodes(config.gpu_types, config.wait_for_nodes, detect, report)
        if not storage.is_uri(folder):
            os.makedirs(folder, exist_ok=True)
        source = plan_source(_with_table(config, folder), lists, report)
        orders, rows = place_orders(nodes, config.gpu_types, source, report)
        rows += build_missing(folder, orders, source, detect, open_built, report)
    engines, rows = list_plans(folder, orders, rows, source, report)
    return BuiltSet(config.output, rows, engines, plan_hints(config, source, lists))


def check_set(config: ExportConfig) -> None:
    """Refuses settings that engine sets do not have.

    Raises:
        UsageError: they do not, or the folder cannot be one.
    """
    path = config.output
    if is_plan(path) or is_onnx(path):
        raise UsageError(f"--gpu-type makes a folder of plans, and {path} is the name of a file")
    folder = storage.absolute(path)
    if not storage.is_uri(folder):
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise UsageError(f"cannot write {path}", "it is a file")
        if not os.path.isdir(os.path.dirname(folder)):
            raise UsageError(f"cannot write {path}", f"there is no {os.path.dirname(folder)}")
    for flag, given in (
        ("--with-postprocess", config.with_postprocess),
        ("--timing-cache", config.timing_cache is not None),
        ("--compute-capability", config.capabilities),
    ):
        if given:
            raise UsageError(
                f"{flag} does not go with --gpu-type",
                "plans of a set have raw outputs, timings of their own, and the GPU of their node",
            )


def build_missing(
    folder: str,
    orders: dict[str, Order],
    source: Source,
    detect: Detect,
    open_built: PlanOpener,
    report: Reporter,
) -> list[Row]:
    """Build what is not there yet, or is of another model or other settings."""
    kept = [key for key, order in orders.items() if find_plan(folder, order.about)]
    missing = {key: order for key, order in orders.items() if key not in kept}
    rows = [Row(key, "kept") for key in kept]
    if kept:
        report.note(f"kept: {', '.join(kept)}")
    if not missing:
        return rows
    report.note(f"building: {', '.join(missing)}")
    tag = secrets.token_hex(4)
    same = (tag, detect, open_built)
    calls = [Call(k, o.nodes, (folder, o.about, *same), o.gpus) for k, o in missing.items()]
    try:
        outcomes = run_on_nodes(build_into, calls, "building", report, source)
    finally:
        for key in missing:
            remove_parts(folder, key, tag)
    return rows + [_row(key, outcome, report) for key, outcome in outcomes.items()]


def _row(key: str, outcome: tuple[BuiltPlan | None, float] | OdtkError, report: Reporter) -> Row:
    """What became of a build; a plan that is off is warned of."""
    if isinstance(outcome, OdtkError):
        return Row(key, "failed", why=str(outcome).replace("\n ", ";"))
    built, seconds = outcome
    if built is None:
        return Row(key, "kept")
    for text in built.verdict.warnings():
        report.warn(f"{key}: {text}")
    return Row(key, "built", seconds, findings=built.findings())


def _with_table(config: ExportConfig, folder: str) -> ExportConfig:
    """A set keeps its calibration table, so that the same command gives the same ONNX file."""
    if not config.int8 or config.calibration_table is not None or is_onnx(config.model):
        return config
    return replace(config, calibration_table=storage.join(folder, _TABLE))
