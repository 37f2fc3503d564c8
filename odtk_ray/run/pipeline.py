"""The whole job on one page: plan -> shards -> workers -> merge -> evaluate -> draw."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from odtk_ray.cluster.local_workers import local_workers
from odtk_ray.cluster.workers import ShardJob, Workers, WorkersWanted
from odtk_ray.config import InferConfig
from odtk_ray.datasets.problems import Problem
from odtk_ray.detect.tiling import count_windows
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.local_gpus import InspectMachine, inspect_machine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.evaluation.score_run import Scores, score_run
from odtk_ray.moments import Moment, begin_moments, note_moment
from odtk_ray.pictures.draw_run import draw_run
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter, RunReporter
from odtk_ray.run.draft_run import (
    RunInputs,
    RunModel,
    draft_run,
    is_checkpoint,
    open_run_model,
    read_inputs,
)
from odtk_ray.run.fingerprint import resume_run
from odtk_ray.run.outputs import Outputs, write_failures
from odtk_ray.run.plan_run import make_run_plan
from odtk_ray.run.replaced_images import stamp_images
from odtk_ray.run.run_files import check_files
from odtk_ray.run.write_scores import write_scores
from odtk_ray.shards.cut_shards import network_shapes
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.shards.sightings import summarise
from odtk_ray.storage.retry import touch
from odtk_ray.worker.fleet import Fleet
from odtk_ray.worker.shard_work import WorkerSettings

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
        seconds: duration of detection, from the published plan to the last shard.
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
    inputs = read_inputs(config, reporter)
    wanted = WorkersWanted(
        config,
        inputs.images_left,
        inputs.threads,
        inputs.engine_set,
        inspect,
        own_engines=make_engine is not None,
    )
    model = open_model_early(inputs)
    reporter.stage(say_start(config))
    with open_workers(wanted, reporter) as workers:
        reporter.stage("reading the model")
        draft = draft_run(inputs, model or open_run_model(inputs), reporter)
        load = draft.loader(make_engine, inspect)
        if inputs.run:
            run = resume_run(inputs.run, workers.fleet, reporter)
        else:
            plan = make_run_plan(draft, workers, reporter, load)
            reporter.stage("writing the plan")
            run = RunFolder.create(config.run_folder, plan, stamp_images(config, plan.records))
        note_moment(Moment.PLANNED)
        before = run.images_done
        started = time.monotonic()
        with Outputs(config, run) as outputs:
            run_shards(config, run, outputs, workers, load, reporter)
            seconds = time.monotonic() - started
            summary = finish(config, run, outputs, workers, seconds, before, reporter)
    if not config.keep_run:
        run.check_owner()
        run.remove()
    return summary


def say_start(config: InferConfig) -> str:
    """Say what takes the first seconds: Ray, or without it the model."""
    if config.local:
        return "reading the model"
    address = config.address or os.environ.get("RAY_ADDRESS")
    return f"connecting to Ray at {address}" if address else "starting Ray"


def open_model_early(inputs: RunInputs) -> RunModel | None:
    """Open the model before the workers start, if that is quick or nodes are waited for.

    What cannot work is refused at once then. A checkpoint is opened when the workers have been
    started: to import torch takes seconds, which they need for the same, and connecting to Ray
    takes more than twice as long beside it, since both are Python and share its lock.
    """
    if inputs.config.wait_for_nodes or not is_checkpoint(inputs.config):
        return open_run_model(inputs)
    return None


def open_workers(
    wanted: WorkersWanted, reporter: Reporter
) -> contextlib.AbstractContextManager[Workers]:
    """Choose and start the workers; they end with the context."""
    if wanted.config.local:
        return local_workers(wanted, reporter)
    from odtk_ray.cluster.ray_workers import ray_workers

    return ray_workers(wanted, reporter)


def run_shards(
    config: InferConfig,
    run: RunFolder,
    outputs: Outputs,
    workers: Workers,
    load: EngineLoader,
    reporter: RunReporter,
) -> None:
    """Have workers detect until every shard of the plan is committed."""
    shards = run.missing_shards()
    reporter.begin(len(run.plan.records), run.images_done)
    if shards:
        fleet = workers.fleet
        used = min(fleet.workers, len(shards))
        on = counted(used, "GPU" if fleet.gpus else "CPU worker")
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
        job = ShardJob(
            settings,
            replace(load, settings=run.plan.settings, shapes=shapes),
            run.plan.records,
            shards,
            run.epoch,
            commit=outputs.commit,
            progress=progress_teller(run, reporter),
            trace=config.trace,
            shard_timeout=config.shard_timeout,
        )
        workers.run(job)
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
    workers: Workers,
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
    scores = score_run(config, run)
    files += write_scores(config, run, scores, seconds, reporter)
    if config.draw:
        reporter.stage("drawing")
        drawn, problems = draw_run(config, run, workers)
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
        fleet=workers.fleet,
        files=files,
        scores=scores,
    )
