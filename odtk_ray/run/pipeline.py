"""The whole job on one page: plan -> shards -> workers -> merge -> evaluate -> draw."""

from __future__ import annotations

import contextlib
import functools
import time
from dataclasses import dataclass, replace

from odtk_ray.cluster.dispatcher import Dispatcher
from odtk_ray.cluster.node_selection import NodeSelection, select_nodes
from odtk_ray.cluster.observer import Observer
from odtk_ray.cluster.publish import publish
from odtk_ray.cluster.session import Fleet, choose_fleet, session
from odtk_ray.cluster.worker import WorkerSettings, worker_starter
from odtk_ray.config import InferConfig
from odtk_ray.engines.loader import EngineLoader, IncompatibleGpu
from odtk_ray.engines.local_gpus import Detect, detect_machine
from odtk_ray.engines.protocol import EngineFactory
from odtk_ray.evaluation.score_run import Scores, score_run
from odtk_ray.pictures.drawn_run import draw_run
from odtk_ray.plural import counted
from odtk_ray.reporter import Reporter, RunReporter
from odtk_ray.run.fingerprint import resume_run
from odtk_ray.run.outputs import Outputs, check_outputs, write_failures, write_metrics
from odtk_ray.run.planning import draft_run, make_plan
from odtk_ray.shards.cut import network_shapes
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.storage.retry import touch

# So many images are tried before it is assumed that the driver's machine does not see them.
_CANARIES = 16


@dataclass(frozen=True)
class Summary:
    """What a finished run did.

    Attributes:
        images: planned images.
        detections: detections in the outputs.
        failed: images that could not be processed.
        detected: images processed by this run, the others by the one that it resumed.
        seconds: that took, the start of the workers included.
        fleet: what it ran on.
        files: what was written.
        scores: figures against the ground truth, where there is some.
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
        """The figures that a program wants."""
        names = ("images", "detected", "detections", "failed")
        return {name: getattr(self, name) for name in names}


def infer(
    config: InferConfig,
    report: RunReporter,
    make_engine: EngineFactory | None = None,
    detect: Detect = detect_machine,
) -> Summary:
    """Run a detector over images and write what it finds.

    Args:
        config: what to do.
        report: told about progress.
        make_engine: makes each worker's engine, from the path of the model for its GPU and the
            run's settings; None loads the model.
        detect: finds the GPUs of a process, where it matters which they are.

    Raises:
        OdtkError: the run cannot start or go on; what is committed stays in the run folder.
    """
    check_outputs(config)
    draft = draft_run(config, report)
    with session(config.address, draft.local_cpus) as local:
        nodes = select_nodes(config, draft.engines, detect, report)
        fleet = choose_fleet(config.workers, draft.threads, local=local, left_out=nodes.left_out)
        load = draft.loader(make_engine, detect)
        if draft.run:
            run = resume_run(draft.run, fleet, report)
        else:
            plan = make_plan(draft, fleet, report, load, nodes.places)
            run = RunFolder.create(config.run_folder, plan)
        before = run.images_done
        started = time.monotonic()
        with Outputs(config, run) as outputs:
            run_shards(config, run, outputs, fleet, nodes, load, report)
            seconds = time.monotonic() - started
            summary = finish(config, run, outputs, fleet, seconds, before, report)
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
    report: RunReporter,
) -> None:
    """Get every shard of the plan committed."""
    shards = run.missing_shards()
    report.begin(len(run.plan.records), run.images_done)
    if shards:
        settings = WorkerSettings(
            run_dir=run.path,
            token_file=run.token_file,
            token=run.token,
            canary=find_canary(run),
            digest=run.digest,
            run=run.plan.settings,
            gpu_types=config.gpu_types,
            detect=load.detect,
        )
        shapes = list(network_shapes(run.plan.records, run.plan.settings.preprocessing))
        load = replace(load, settings=run.plan.settings, shapes=shapes)
        dispatcher = Dispatcher(
            worker_starter(fleet, nodes, settings, load),
            fleet.workers,
            publish(run.plan.records, shards),
            {shard.number: shard.rows for shard in shards},
            epoch=run.epoch,
            commit=outputs.commit,
            warn=report.warn,
            observer=Observer(config.trace),
            shard_timeout=config.shard_timeout,
            room=nodes.room if fleet.elastic else None,
            leave_out=functools.partial(leave_out, nodes, report),
            progress=lambda more: report.progress(run.images_done + more, run.images_failed),
        )
        dispatcher.run(shard.number for shard in shards)
    report.end()


def leave_out(nodes: NodeSelection, report: Reporter, incompatible: IncompatibleGpu) -> int:
    """No more workers for a node with a GPU that cannot do its part; returns the room left."""
    if incompatible.node not in nodes.left_out:
        report.warn(f"a node is left out: {incompatible}")
        nodes.left_out.add(incompatible.node)
    return nodes.room()


def find_canary(run: RunFolder) -> str | None:
    """The first of the run's first images that can be read: every worker must be able to."""
    for path in run.plan.records["path"].slice(0, _CANARIES).to_pylist():
        with contextlib.suppress(OSError):
            touch(path)
            return str(path)
    return None


def finish(
    config: InferConfig,
    run: RunFolder,
    outputs: Outputs,
    fleet: Fleet,
    seconds: float,
    before: int,
    report: RunReporter,
) -> Summary:
    """Write the outputs of a run whose shards are all committed."""
    run.check_owner()
    receipts: list[Receipt] = list(run.committed.values())
    if transposed := sum(receipt.transposed for receipt in receipts):
        report.warn(
            f"the annotation file has width and height swapped for {transposed:,} of the images: "
            "it was made on pictures turned by their EXIF orientation (--exif apply turns them)"
        )
    outputs.publish()
    files = [*config.outputs, *write_failures(config, run, report)]
    if (scores := score_run(config, run)) is not None:
        for remark in scores.remarks:
            report.warn(remark)
        files += write_metrics(config, scores, run)
    if config.draw:
        drawn, problems = draw_run(config, run)
        files.append(f"{config.draw} ({counted(drawn, 'picture')})")
        if problems:
            report.warn(f"not drawn: {counted(len(problems), 'picture')}, first {problems[0]}")
    decoded_by_pillow = sum(receipt.by_pillow for receipt in receipts)
    if decoded_by_pillow:
        report.note(
            f"the CPU decoded {counted(decoded_by_pillow, 'image')} that the GPU's decoder leaves"
        )
    images = len(run.plan.records)
    return Summary(
        images=images,
        detections=sum(receipt.detections for receipt in receipts),
        failed=run.images_failed,
        detected=images - before,
        seconds=seconds,
        fleet=fleet,
        files=files,
        scores=scores,
    )
