"""The whole job on one page: plan -> shards -> workers -> merge -> evaluate -> draw."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from odtk_ray import storage
from odtk_ray.cluster.workers import ShardJob, Workers
from odtk_ray.config import InferConfig
from odtk_ray.datasets.problems import Problem
from odtk_ray.detect.tiling import count_windows
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.local_gpus import InspectMachine, inspect_machine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.errors import OdtkError
from odtk_ray.evaluation.score_run import score_run
from odtk_ray.moments import Moment, begin_moments, note_moment
from odtk_ray.pictures.draw_run import draw_run
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter, RunReporter
from odtk_ray.run.earlier_results import take_over_results
from odtk_ray.run.event_recorder import EventRecorder
from odtk_ray.run.fingerprint import resume_run
from odtk_ray.run.options_file import write_options
from odtk_ray.run.outputs import Outputs, write_failures
from odtk_ray.run.pace import Pace
from odtk_ray.run.plan_run import make_run_plan
from odtk_ray.run.prepare_run import PreparedRun, prepared_run
from odtk_ray.run.replaced_images import stamp_images
from odtk_ray.run.summary import Summary
from odtk_ray.run.write_scores import write_scores
from odtk_ray.shards.cut_shards import network_shapes
from odtk_ray.shards.image_stamps import ImageStamps
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.shards.sightings import summarise
from odtk_ray.storage.retry import touch
from odtk_ray.worker.shard_work import WorkerSettings

# If the first images, this many, cannot be read, the driver's machine probably cannot see any.
_CANARIES = 16


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
    with EventRecorder(reporter) as recorder:
        run, summary = detect(config, recorder, make_engine, inspect)
        if config.place.in_place or not config.keeps_run:
            run.check_owner()
        recorder.close("finished", "the outputs are written")
    if config.place.in_place:
        storage.replace_folder(storage.absolute(config.place.kept), by=run.path)
    elif not config.keeps_run:
        run.remove()
    return summary


def detect(
    config: InferConfig,
    reporter: EventRecorder,
    make_engine: EngineFactory | None,
    inspect: InspectMachine,
) -> tuple[RunFolder, Summary]:
    """Plan or resume a run and carry it out; return its folder, and its figures."""
    with prepared_run(config, reporter, make_engine, inspect) as prepared:
        workers, load = prepared.workers, prepared.load
        update = prepared.draft.inputs.update
        if (earlier := prepared.draft.inputs.run) is not None:
            run = resume_run(earlier, workers.fleet, reporter)
        else:
            run = begin_run(config, prepared, reporter)
        write_options(config, run.path)
        reporter.attach(run)
        if update:
            take_over_results(run, update, reporter)
        note_moment(Moment.PLANNED)
        before = run.images_done
        started = time.monotonic()
        begun = update is not None and earlier is None
        with withdrawing(run, reporter, begun=begun), Outputs(config, run) as outputs:
            run_shards(config, run, outputs, workers, load, reporter)
            seconds = time.monotonic() - started
            summary = finish(config, run, outputs, workers, seconds, before, reporter)
        return run, replace(summary, update=update.counts if update else None)


def begin_run(config: InferConfig, prepared: PreparedRun, reporter: RunReporter) -> RunFolder:
    """Plan a new run and make its folder."""
    plan = make_run_plan(prepared.draft, prepared.workers, reporter, prepared.load)
    reporter.stage("writing the plan")
    if update := prepared.draft.inputs.update:
        stamps: ImageStamps | None = update.stamps
    else:
        stamps = stamp_images(config, plan.records, everywhere=config.keeps_run)
    return RunFolder.create(config.run_folder, plan, stamps)


@contextlib.contextmanager
def withdrawing(run: RunFolder, reporter: EventRecorder, *, begun: bool) -> Iterator[None]:
    """Remove the folder of an update that fails before its first image is done.

    The workers may be of another kind than the earlier run's, and nothing is in the folder that the
    earlier run has not.

    Args:
        run: of the folder.
        reporter: keeps the folder's events.
        begun: whether the run is an update that this driver has begun; nothing happens otherwise.
    """
    before = run.images_done
    try:
        yield
    except OdtkError as error:
        if begun and run.images_done == before < len(run.plan.records):
            run.check_owner()
            reporter.close("stopped", error.sentence)
            run.remove()
        raise


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
            engine=find_engine(config, run),
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
            failed=run.images_failed,
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


def find_engine(config: InferConfig, run: RunFolder) -> str | None:
    """Return the engine whose results an update has; None for a run that has none, or no update."""
    if config.update is None or not run.committed:
        return None
    return next(iter(run.committed.values())).engine


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
    pace = Pace.measured(len(run.plan.records) - before, seconds, workers.fleet)
    files += write_scores(config, run, scores, seconds, pace, reporter)
    if config.draw or config.crops:
        reporter.stage("drawing")
        files += draw_run(config, run, workers, reporter)
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
