"""The whole job on one page: plan -> shards -> workers -> merge -> evaluate -> draw."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from odtk_ray.cluster.dispatcher import Dispatcher
from odtk_ray.cluster.node_selection import NodeSelection, select_nodes
from odtk_ray.cluster.observer import Observer
from odtk_ray.cluster.session import Fleet, choose_fleet, session
from odtk_ray.cluster.shard_blocks import store_shards
from odtk_ray.cluster.worker import WorkerSettings, worker_starter
from odtk_ray.config import InferConfig
from odtk_ray.datasets.problems import Problem
from odtk_ray.detect.tiling import count_windows
from odtk_ray.engines.loader import EngineLoader, IncompatibleGpu
from odtk_ray.engines.local_gpus import InspectMachine, inspect_machine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.evaluation.score_run import Scores, score_run
from odtk_ray.moments import Moment, begin_moments, note_moment
from odtk_ray.pictures.draw_run import draw_run
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter, RunReporter
from odtk_ray.run.draft_run import draft_run
from odtk_ray.run.fingerprint import resume_run
from odtk_ray.run.outputs import Outputs, write_failures, write_metrics
from odtk_ray.run.plan_run import make_run_plan
from odtk_ray.run.replaced_images import stamp_images
from odtk_ray.run.run_files import check_files
from odtk_ray.shards.cut_shards import network_shapes
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.shards.sightings import summarise
from odtk_ray.storage.retry import touch

# If the first images, this many, cannot be read, the driver's machine probably cannot see any.
_CANARIES = 16


@dataclass(frozen=True)
class Summary:
    """The figures of a finished run.

    Attributes:
        images: planned images.
        detections: detections in the outputs.
        failed: images that could not be processed.
        detected: images processed by this run, the others by the one that it resumed.
        seconds: duration, including the start of the workers.
        fleet: the workers that it ran on.
        files: the files that were written.
        scores: figures against the ground truth; None without ground truth.
    """

    images: int
    detections: int
    failed: int
    detected: int
    seconds: float
    fleet: Fleet
    files: list[str]
    scores: Scores | None

    def counts(self) -> dict[str, int]:
        """Return the counts that a program wants."""
        names = ("images", "detected", "detections", "failed")
        return {name: getattr(self, name) for name in names}


def infer(
    config: InferConfig,
    reporter: RunReporter,
    make_engine: EngineFactory | None = None,
    inspect: InspectMachine = inspect_machine,
) -> Summary:
    """Run a detector over images and write what it finds.

    Args:
        config: the user's settings.
        reporter: receives progress and remarks.
        make_engine: makes each worker's engine, from the path of the model for its GPU and the
            run's settings; None loads the model.
        inspect: finds the GPUs of a process, if their kind matters.

    Raises:
        OdtkError: the run cannot start or continue; committed shards stay in the run folder.
    """
    begin_moments()
    check_files(config)
    draft = draft_run(config, reporter)
    note_moment(Moment.MODEL_READ)
    address = config.address or os.environ.get("RAY_ADDRESS")
    reporter.stage(f"connecting to Ray at {address}" if address else "starting Ray")
    with session(config.address, draft.local_cpus) as local:
        note_moment(Moment.RAY_UP)
        nodes = select_nodes(config, draft.engine_set, inspect, reporter)
        fleet = choose_fleet(config.workers, draft.threads, local=local, left_out=nodes.left_out)
        load = draft.loader(make_engine, inspect)
        if draft.run:
            run = resume_run(draft.run, fleet, reporter)
        else:
            plan = make_run_plan(draft, fleet, reporter, load, nodes.trial_nodes)
            reporter.stage("writing the plan")
            run = RunFolder.create(config.run_folder, plan, stamp_images(config, plan.records))
        note_moment(Moment.PLANNED)
        # Others would have nothing to do.
        fleet = replace(fleet, workers=min(fleet.workers, max(len(run.missing_shards()), 1)))
        before = run.images_done
        started = time.monotonic()
        with Outputs(config, run) as outputs:
            run_shards(config, run, outputs, fleet, nodes, load, reporter)
            seconds = time.monotonic() - started
            summary = finish(config, run, outputs, fleet, seconds, before, reporter)
    if not config.keep_run:
        run.check_owner()
        run.remove()
    return summary


def run_shards(
    config: InferConfig,
    run: RunFolder,
    outputs: Outputs,
    fleet: Fleet,
    nodes: NodeSelection,
    load: EngineLoader,
    reporter: RunReporter,
) -> None:
    """Start workers and have them detect until every shard of the plan is committed."""
    shards = run.missing_shards()
    reporter.begin(len(run.plan.records), run.images_done)
    if shards:
        on = counted(fleet.workers, "GPU" if fleet.gpus else "CPU worker")
        reporter.stage(f"loading the model on {on}")
        settings = WorkerSettings(
            run_dir=run.path,
            token_file=run.token_file,
            token=run.token,
            canary=find_canary(run),
            digest=run.digest,
            run=run.plan.settings,
            gpu_types=config.gpu_type,
            inspect=load.inspect,
        )
        shapes = list(network_shapes(run.plan.records, run.plan.settings.preprocessing))
        load = replace(load, settings=run.plan.settings, shapes=shapes)
        dispatcher = Dispatcher(
            worker_starter(fleet, nodes, settings, load),
            fleet.workers,
            store_shards(run.plan.records, shards),
            {shard.number: shard.rows for shard in shards},
            epoch=run.epoch,
            commit=outputs.commit,
            warn=reporter.warn,
            observer=Observer(config.trace),
            shard_timeout=config.shard_timeout,
            room=nodes.room if fleet.elastic else None,
            leave_out=functools.partial(leave_out, nodes, reporter),
            progress=progress_teller(run, reporter),
        )
        dispatcher.run(shard.number for shard in shards)
    reporter.end()


def progress_teller(run: RunFolder, reporter: RunReporter) -> Callable[[int, int], None]:
    """Return a function that tells of images done beyond those committed, and of windows done."""
    prep, total = run.plan.settings.preprocessing, 0
    if prep.tile is not None:
        rows = np.concatenate([shard.rows for shard in run.missing_shards()])
        width, height = (run.plan.records[side].to_numpy()[rows] for side in ("width", "height"))
        total = count_windows(width, height, prep.tile, prep.overlap)

    def tell(images: int, windows: int) -> None:
        if total:
            reporter.windows(windows, total)
        reporter.progress(run.images_done + images, run.images_failed)

    return tell


def leave_out(nodes: NodeSelection, reporter: Reporter, incompatible: IncompatibleGpu) -> int:
    """Start no more workers on the node of an incompatible GPU; return the number of GPUs left."""
    if incompatible.node not in nodes.left_out:
        reporter.warn(f"a node is left out: {incompatible}")
        nodes.left_out.add(incompatible.node)
    return nodes.room()


def find_canary(run: RunFolder) -> str | None:
    """Return the first readable image of the run's first images; every worker must read it too."""
    for path in run.plan.records["path"].slice(0, _CANARIES).to_pylist():
        with contextlib.suppress(OSError):
            touch(path)
            return str(path)
    return None


def say_what_was_seen(config: InferConfig, run: RunFolder, reporter: Reporter) -> None:
    """Say what is odd about pictures: how many there are, and the first of them."""
    parts = [receipt.sightings for receipt in run.committed.values()]
    for finding in summarise(parts, run.plan.records):
        if finding.problem is Problem.SIZE and config.annotations is None:
            continue  # planned from the file's own header: it was replaced, which a resume says
        # Nothing speaks for turned pictures, or against them, where nothing is annotated.
        normal = finding.problem is Problem.EXIF and config.annotations is None
        say = reporter.note if normal else reporter.warn
        say(finding.text, finding.remedy)


def finish(
    config: InferConfig,
    run: RunFolder,
    outputs: Outputs,
    fleet: Fleet,
    seconds: float,
    before: int,
    reporter: RunReporter,
) -> Summary:
    """Write the outputs, metrics and drawings of a run whose shards are all committed."""
    run.check_owner()
    receipts: list[Receipt] = list(run.committed.values())
    say_what_was_seen(config, run, reporter)
    reporter.stage("writing the outputs")
    outputs.publish()
    if config.annotations:
        reporter.stage("scoring the detections")
    files = [*config.output, *write_failures(config, run, reporter)]
    if (scores := score_run(config, run)) is not None:
        for finding in scores.findings:
            reporter.warn(finding.text, finding.remedy)
        if scores.crowded:
            reporter.warn(scores.crowded)
        files += write_metrics(config, scores, run)
    if config.draw:
        reporter.stage("drawing")
        drawn, problems = draw_run(config, run)
        files.append(f"{config.draw} ({counted(drawn, 'picture')})")
        if problems:
            reporter.warn(
                f"{counted(len(problems), 'picture')} could not be drawn, first {problems[0]}"
            )
    decoded_by_pillow = sum(receipt.by_pillow for receipt in receipts)
    if decoded_by_pillow:
        images = counted(decoded_by_pillow, "image")
        reporter.note(f"the CPU decoded {images} that the GPU's decoder does not support")
    planned = len(run.plan.records)
    return Summary(
        images=planned,
        detections=sum(receipt.detections for receipt in receipts),
        failed=run.images_failed,
        detected=planned - before,
        seconds=seconds,
        fleet=fleet,
        files=files,
        scores=scores,
    )
