"""`--dry-run`: what a run would be, found as the run itself finds it, up to its first image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np

from odtk_ray.artifacts.exported_model import is_onnx
from odtk_ray.config import InferConfig
from odtk_ray.detect.tiling import count_windows
from odtk_ray.engines.local_gpus import InspectMachine, inspect_machine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.moments import begin_moments
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter, RunReporter
from odtk_ray.run.draft_run import RunModel, is_checkpoint
from odtk_ray.run.fingerprint import check_device
from odtk_ray.run.pace import EarlierRun, read_earlier_run
from odtk_ray.run.plan_run import make_run_plan
from odtk_ray.run.prepare_run import PreparedRun, prepared_run
from odtk_ray.settings import RunSettings
from odtk_ray.shards.cut_shards import Shard, network_shapes
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.run_plan import RunPlan
from odtk_ray.worker.fleet import Fleet

_SHAPES = 4  # network inputs that are named; the rest is counted

Rows = list[tuple[str, str]]


def dry_run(
    config: InferConfig,
    reporter: RunReporter,
    pace: str | None = None,
    make_engine: EngineFactory | None = None,
    inspect: InspectMachine = inspect_machine,
) -> Rows:
    """Say what a run would do, as (name, text) rows; no image is detected in, no file written.

    Workers start, since the plan depends on them: GPUs try the model, and many missing image sizes
    are read by workers.

    Args:
        config: the user's settings.
        reporter: receives progress and remarks.
        pace: path or URI of the metrics file of an earlier run, for an estimate of the time.
        make_engine: as `pipeline.infer` has it.
        inspect: likewise.

    Raises:
        OdtkError: the run could not start.
    """
    begin_moments()
    earlier = None if pace is None else read_earlier_run(pace)
    with prepared_run(config, reporter, make_engine, inspect) as prepared:
        run = prepared.draft.inputs.run
        plan = _find_plan(prepared, run, reporter)
        fleet = prepared.workers.fleet
        update = prepared.draft.inputs.update
        launch_open = run is None and update is None and config.batch == "auto"
        left = run.missing_shards() if run else plan.shards
        if update:
            left = [shard for shard in left if not update.takes_over(shard)]
        side_outputs = config.draw, config.crops, config.report, config.trace
        rows = [
            *_describe_images(plan, run),
            *([("update", str(update.counts))] if update else []),
            ("model", _describe_model(prepared.draft.model)),
            ("engine", _describe_engine(config, plan.settings, launch_open)),
            ("workers", _describe_fleet(fleet, len(left))),
            ("shards", f"{'about ' if launch_open else ''}{_describe_shards(left)}"),
            ("outputs", ", ".join([*config.output, *filter(None, side_outputs)])),
            ("run folder", config.run_folder),
        ]
        if pace is not None and earlier is not None:
            used = replace(fleet, workers=min(fleet.workers, max(len(left), 1)))
            images = sum(map(len, left))
            settings = plan.settings
            if launch_open:  # as before, until it is measured
                settings = replace(settings, launch_batch=earlier.settings.get("launch_batch", 1))
            text = _estimate(earlier, pace, images, settings, used, reporter)
            rows.append(("time", text))
    return [*rows, ("", "dry run: nothing was written")]


def _find_plan(prepared: PreparedRun, run: RunFolder | None, reporter: RunReporter) -> RunPlan:
    if run is None:
        return make_run_plan(
            prepared.draft, prepared.workers, reporter, prepared.load, measure=False
        )
    check_device(run, prepared.workers.fleet)
    run.look()
    return run.plan


def _describe_images(plan: RunPlan, run: RunFolder | None) -> Iterator[tuple[str, str]]:
    records, prep = plan.records, plan.settings.preprocessing
    text = counted(len(records), "image")
    if run is not None:
        text += f", {run.images_done:,} of them done"
    widths, heights = (records[side].to_numpy() for side in ("width", "height"))
    if unknown := int(np.count_nonzero((widths <= 0) | (heights <= 0))):
        text += f", {unknown:,} without a readable size"
    yield "images", text
    if prep.tile is not None:
        yield "windows", f"{count_windows(widths, heights, prep.tile, prep.overlap):,}"
    # Largest first is the order of the engine; people want to know what most images are.
    shapes = sorted(network_shapes(records, prep).items(), key=lambda item: -item[1])
    named = [f"{w}x{h} for {n:,}" for (h, w), n in shapes[:_SHAPES]]
    if others := sum(n for _, n in shapes[_SHAPES:]):
        named.append(f"{counted(len(shapes) - _SHAPES, 'other')} for {others:,}")
    yield "network inputs", ", ".join(named) or "not known"


def _describe_model(model: RunModel) -> str:
    about = model.opened.model
    boxes = "rotated boxes" if about.rotated else "boxes"
    return f"{', '.join(about.backbones)}, {counted(about.classes, 'class', 'classes')}, {boxes}"


def _describe_engine(config: InferConfig, settings: RunSettings, launch_open: bool) -> str:
    """Describe the engine; `launch_open` says that its launch is not known yet."""
    if is_checkpoint(config):
        half = settings.device == "gpu" and not settings.full_precision
        name = f"PyTorch in {'FP16' if half else 'FP32'}"
        if settings.device == "gpu":
            name += f" {'with' if settings.kernels else 'without'} the CUDA kernels"
    else:
        name = "ONNX Runtime" if is_onnx(config.model) else "TensorRT"
    launch = f"{counted(settings.launch_batch, 'image')} at once"
    if launch_open:
        launch = "images at once are measured when the run starts"
    return f"{name}; {launch}, decoded by {settings.decoder}"


def _describe_fleet(fleet: Fleet, shards: int) -> str:
    workers = counted(fleet.workers, "GPU" if fleet.gpus else "CPU worker")
    text = f"{workers}, {counted(fleet.threads, 'CPU thread')} each"
    if fleet.elastic:
        text += ", and GPUs that join later"
    if 0 < shards < fleet.workers:
        text += f"; {counted(shards, 'shard is', 'shards are')} work for {shards:,} of them"
    return text


def _describe_shards(shards: list[Shard]) -> str:
    if not shards:
        return "none is left"
    sizes = [len(shard) for shard in shards]
    least, most = min(sizes), max(sizes)
    each = counted(most, "image") if least == most else f"{least:,} to {most:,} images"
    return f"{len(shards):,} of {each}"


def _estimate(
    earlier: EarlierRun,
    path: str,
    images: int,
    settings: RunSettings,
    fleet: Fleet,
    reporter: Reporter,
) -> str:
    """Estimate the time of detection; what the estimate assumes wrongly is warned of."""
    pace = earlier.pace
    if pace.device != fleet.device:
        return (
            f"not known: {path} is of {_kinds(pace.device == 'gpu')}, and here are "
            f"{_kinds(fleet.gpus)}"
        )
    if different := earlier.differences(settings):
        reporter.warn(
            f"the estimated time may be far off: {_listed(different)} of {path} "
            f"{'was' if len(different) == 1 else 'were'} different"
        )
    seconds = round(pace.seconds(images, fleet))
    each = pace.images_per_second / pace.workers
    kind = "GPU" if fleet.gpus else "CPU worker"
    return (
        f"about {timedelta(seconds=max(seconds, 1))} for {counted(images, 'image')} on "
        f"{counted(fleet.workers, kind)}, if each does {each:,.1f} images/s as in {path}"
    )


def _kinds(gpus: bool) -> str:
    return "GPUs" if gpus else "CPU workers"


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
