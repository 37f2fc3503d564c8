"""The one worker of a run without Ray: this process."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, TypeVar

from odtk_ray.cluster.failures import first_line, worker_error
from odtk_ray.cluster.trace import Trace
from odtk_ray.cluster.workers import ShardJob, WorkersWanted
from odtk_ray.dispatch.agreement import GpuAbilities
from odtk_ray.dispatch.dispatch import Dispatch
from odtk_ray.dispatch.launch_survey import LaunchSurvey
from odtk_ray.dispatch.worker_state import DEPTH, Assignment
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.local_gpus import list_gpus
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.moments import Moment, note_moment
from odtk_ray.plural import counted
from odtk_ray.records import WORK_COLUMNS
from odtk_ray.reporter import Reporter
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.storage.retry import be_patient
from odtk_ray.worker.fleet import Fleet, physical_cores
from odtk_ray.worker.gpu_trial import GpuTrial
from odtk_ray.worker.shard_work import ShardWork
from odtk_ray.worker.shard_worker import ShardWorker
from odtk_ray.worker.warm_up import Needs

T = TypeVar("T")

# Seconds between two reports of progress.
_INTERVAL = 0.5


class LocalWorkers:
    """This process as the only worker; see `Workers`.

    Its decisions are those of `dispatch`, as on Ray. What needs another process is missing: an
    image that crashes this one ends the run, and `--resume` would meet it again.

    Args:
        fleet: one worker.
        needs: what its engine will need.
    """

    def __init__(self, fleet: Fleet, needs: Needs) -> None:
        self.fleet = fleet
        kind = "GPU 0" if fleet.gpus else "CPU"
        self._worker = ShardWorker(f"{kind} on {socket.gethostname()}", needs)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trial")

    def map(
        self,
        function: Callable[..., T],
        calls: Sequence[tuple[Any, ...]],
        ended: Callable[[int], None] = lambda _: None,
    ) -> list[T]:
        """See `Workers.map`; threads do it."""
        results: list[T] = []
        with ThreadPoolExecutor(self.fleet.threads) as pool:
            try:
                for call in [pool.submit(function, *c) for c in calls]:
                    results.append(call.result())
                    ended(len(results))
                return results
            except OdtkError:
                raise
            except Exception as error:
                raise OdtkError(f"{type(error).__name__}: {first_line(error)}") from error
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def begin_trial(self, trial: GpuTrial, least: int = 1) -> Callable[[], GpuAbilities]:
        """See `Workers.begin_trial`; there is no other process for a smaller launch."""
        trying = self._thread.submit(self._worker.try_gpu, trial)

        def agree() -> GpuAbilities:
            found = trying.result()
            if found is None:
                batch = trial.load.settings.launch_batch
                raise OdtkError(
                    "the GPU's memory is too small",
                    f"{counted(batch, 'image')} of the largest size at once do not fit",
                    f"--batch {batch // 2}" if batch > least else "lower --resize and --max-size",
                )
            return found

        return agree

    def measure_launches(self, load: EngineLoader, survey: LaunchSurvey) -> None:
        """See `Workers.measure_launches`; a launch that does not fit ends the run."""
        survey.enrol({0: ""})
        while calls := survey.calls():
            for worker, batch in calls:
                try:
                    rate = self._worker.measure_launch(load.with_launch(batch))
                except Exception as error:
                    survey.failed(worker, worker_error(error))
                    continue
                if rate is not None:
                    survey.measured(worker, rate)
                    continue
                survey.full(worker)
                raise OdtkError(  # the process has no other engine any more
                    "--batch auto has used up the memory",
                    f"{counted(batch, 'image')} of the largest size at once do not fit",
                    f"--batch {survey.chosen()}",
                )

    def run(self, job: ShardJob) -> None:
        """See `Workers.run`."""
        trace, rows, started = Trace(job.trace), job.rows, time.monotonic()
        dispatch = Dispatch(rows, rows, 1, started)
        try:
            with of_worker():
                said = self._worker.prepare(job.settings, job.load)
            dispatch.reported(dispatch.workers[0], said, started)
            with ThreadPoolExecutor(DEPTH, thread_name_prefix="shard") as pool:
                try:
                    self._work(job, dispatch, pool, trace)
                finally:
                    self._worker.stop()
        finally:
            trace.close()

    def close(self) -> None:
        """Free the engine, once the trial has made it."""
        self._thread.shutdown()
        self._worker.close()

    def _work(
        self, job: ShardJob, dispatch: Dispatch, pool: ThreadPoolExecutor, trace: Trace
    ) -> None:
        columns, rows = job.records.select(list(WORK_COLUMNS)), job.rows
        calls: dict[Future[Receipt | None], Assignment] = {}
        while dispatch.unfinished:
            for assignment in dispatch.assignments(time.monotonic()):
                shard = assignment.task.shard
                block = columns.take(rows[shard])
                attempt = f"{job.epoch}.{assignment.attempt}"
                work = ShardWork(0, len(block), shard, attempt, frozenset(), singly=False)
                calls[pool.submit(self._worker.run, block, work)] = assignment
            done, _ = wait(calls, _INTERVAL, FIRST_COMPLETED)
            for call in done:
                assignment = calls.pop(call)
                with of_worker():
                    receipt = call.result()
                seconds = dispatch.finished(assignment, time.monotonic())
                if receipt is not None and seconds is not None:
                    trace.shard(assignment.worker, receipt, seconds)
                    job.commit(receipt)
                    note_moment(Moment.COMMITTED)
            said = self._worker.progress()
            job.progress(sum(said.done.values()), said.tiles)


@contextlib.contextmanager
def of_worker() -> Iterator[None]:
    """Convert what a worker raises, as on Ray; our own errors are as they were."""
    try:
        yield
    except OdtkError:
        raise
    except Exception as error:
        raise worker_error(error) from error


@contextlib.contextmanager
def local_workers(wanted: WorkersWanted, reporter: Reporter) -> Iterator[LocalWorkers]:
    """Use this process and its first GPU, or the CPU where it has none.

    Raises:
        UsageError: options contradict that.
    """
    config = wanted.config
    for flag, given in {
        "--address": config.address,
        "--gpu-type": config.gpu_type,
        "--min-workers": config.min_workers,
        "--exclude-node": config.exclude_node,
        "--metrics-port": config.metrics_port,
        "--shard-timeout": config.shard_timeout,
        "--workers": (config.workers or 1) > 1,
    }.items():
        if given:
            raise UsageError(
                f"--local and {flag} contradict each other", "--local is one worker, without Ray"
            )
    gpus = list_gpus()
    if len(gpus) > 1:
        reporter.note(f"--local uses one of {len(gpus)} GPUs")
    threads = wanted.threads or (4 if gpus else physical_cores())
    fleet = Fleet(1, bool(gpus), threads)
    # A thread of the driver's opens the model, and imports most of what the engine needs.
    workers = LocalWorkers(fleet, replace(wanted.needs(fleet), module=None))
    try:
        yield workers
    finally:
        workers.close()
        be_patient()  # what comes after this run, in a program that goes on
