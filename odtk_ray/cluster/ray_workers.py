"""Workers that are Ray's actors: chosen and started before the plan, then fed by the dispatcher."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from odtk_ray.cluster.actor import actor_starter
from odtk_ray.cluster.crew import Crew
from odtk_ray.cluster.dispatcher import Dispatcher
from odtk_ray.cluster.node_selection import NodeSelection, select_nodes
from odtk_ray.cluster.node_watch import NodeWatch
from odtk_ray.cluster.observer import Observer
from odtk_ray.cluster.session import choose_fleet, session
from odtk_ray.cluster.shard_blocks import store_shards
from odtk_ray.cluster.task_map import map_on_ray
from odtk_ray.cluster.workers import ShardJob, WorkersWanted
from odtk_ray.dispatch.agreement import GpuAbilities
from odtk_ray.dispatch.launch_survey import LaunchSurvey
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.errors import OdtkError
from odtk_ray.moments import Moment, note_moment
from odtk_ray.reporter import Reporter
from odtk_ray.shards.run_status import run_name
from odtk_ray.worker.fleet import Fleet
from odtk_ray.worker.gpu_trial import GpuTrial

T = TypeVar("T")


class RayWorkers:
    """The actors of a run; see `Workers`.

    Args:
        fleet: how many there should be, and of which kind.
        nodes: the nodes that take part.
        crew: the actors that have been started.
        watch: tells which nodes end.
        reporter: receives remarks.

    Attributes:
        fleet: how many there are.
    """

    def __init__(
        self,
        fleet: Fleet,
        nodes: NodeSelection,
        crew: Crew,
        watch: NodeWatch,
        reporter: Reporter,
    ) -> None:
        self.fleet = fleet
        self._nodes, self._crew, self._watch, self._reporter = nodes, crew, watch, reporter

    def map(
        self,
        function: Callable[..., T],
        calls: Sequence[tuple[Any, ...]],
        ended: Callable[[int], None] = lambda _: None,
    ) -> list[T]:
        """See `Workers.map`."""
        cores_taken = len(self._crew) > 0 and not self.fleet.gpus

        def tell(count: int) -> None:
            self._watch.latest()  # which raises if the cluster is gone
            ended(count)

        return map_on_ray(
            function,
            calls,
            reserve=not cores_taken,
            selector=self._nodes.selector(),
            ended=tell,
            note=self._reporter.note,
        )

    def begin_trial(self, trial: GpuTrial, least: int = 1) -> Callable[[], GpuAbilities]:
        """See `Workers.begin_trial`."""
        trial = replace(trial, tell_kinds=bool(self._nodes.kinds))
        agreed = self._crew.begin_trial(trial, least)

        def agree() -> GpuAbilities:
            found = agreed()
            self.fleet = replace(self.fleet, workers=self.fleet.workers - self._crew.left_out)
            return found

        return agree

    def measure_launches(self, load: EngineLoader, survey: LaunchSurvey) -> None:
        """See `Workers.measure_launches`."""
        self._crew.measure_launches(load, survey)

    def run(self, job: ShardJob) -> None:
        """See `Workers.run`."""
        # Others would have nothing to do.
        self.fleet = replace(self.fleet, workers=min(self.fleet.workers, len(job.shards)))
        self._crew.keep(self.fleet.workers)
        names = Dispatcher(
            lambda: self._crew.take(job.settings, job.load),
            self.fleet.workers,
            store_shards(job.records, job.shards),
            job.rows,
            epoch=job.epoch,
            commit=job.commit,
            progress=job.progress,
            warn=self._reporter.warn,
            observer=Observer(
                job.trace,
                run_name(job.settings.run_dir),
                images=len(job.records),
                done=job.done,
                failed=job.failed,
            ),
            shard_timeout=job.shard_timeout,
            watch=self._watch,
            room=self._nodes.room if self.fleet.elastic else None,
            avoid=self._nodes.avoid,
            leave_out=self._leave_out,
        ).run(shard.number for shard in job.shards)
        self.fleet = replace(self.fleet, names=tuple(sorted(names)))

    def _leave_out(self, error: OdtkError) -> int:
        return self._nodes.leave_out(error, self._reporter)


@contextlib.contextmanager
def ray_workers(wanted: WorkersWanted, reporter: Reporter) -> Iterator[RayWorkers]:
    """Connect to Ray or start it, choose the workers, and start them; end them at the end.

    Raises:
        OdtkError: Ray cannot be reached or started.
        UsageError: the cluster has no room for the workers, or no GPU of a type that was asked for.
    """
    config = wanted.config
    cpus = (config.workers or 1) * (wanted.threads or 1)
    with session(config.address, cpus, config.metrics_port) as local:
        note_moment(Moment.RAY_UP)
        nodes = select_nodes(config, wanted.engine_set, wanted.inspect, reporter)
        fleet = choose_fleet(
            config.workers,
            wanted.threads,
            local=local,
            left_out=nodes.left_out,
            least=config.min_workers,
            spread=True,
            most=None
            if config.batch == "auto"
            else config.batch,  # each worker needs an image of it
        )
        nodes.threads = None if fleet.gpus else fleet.threads
        needs = wanted.needs(fleet, mixed=len(nodes.kinds) > 1)
        watch = NodeWatch()
        start = actor_starter(fleet, nodes, needs, run_name(config.run_folder))
        crew = Crew(start, nodes, reporter, watch.latest)
        # A launch is the least that a worker can have to do.
        launch = 1 if config.tile else config.launch_batch(fleet.workers, gpus=fleet.gpus)
        busy = min(fleet.workers, -(-wanted.images // launch))
        crew.recruit(busy, spare=fleet.workers - busy)
        # It takes a second, in which the workers do not need this process.
        threading.Thread(target=importlib.import_module, args=("ray.data",), daemon=True).start()
        try:
            yield RayWorkers(fleet, nodes, crew, watch, reporter)
        finally:
            watch.close()
            crew.dismiss()
