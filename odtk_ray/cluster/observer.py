"""Records the progress of a run: on Ray's Prometheus endpoint, in its job, and in a trace."""

from __future__ import annotations

from collections.abc import Mapping

from odtk_ray.cluster.job_metadata import JobMetadata
from odtk_ray.cluster.trace import Trace
from odtk_ray.dispatch.worker_state import WorkerState
from odtk_ray.moments import Moment
from odtk_ray.shards.shard_file import Receipt


class Observer:
    """Records starts of workers, finished shards and crashes for the dispatcher.

    Ray adds `ray_` to the metrics' names, and `_total` to counters; all have the label `run`. The
    images a second of the fleet are the rate of `odtk_images`.

    Args:
        trace: file or URI for the trace; None keeps none.
        run: name of the run.
        images: planned.
        done: of them, by earlier drivers.
        failed: of those done.
    """

    def __init__(
        self, trace: str | None, run: str = "", *, images: int = 0, done: int = 0, failed: int = 0
    ) -> None:
        from ray.util.metrics import Counter, Gauge

        self._trace, self._metadata = Trace(trace), JobMetadata()
        self._run, self._planned, self._done, self._failed = run, images, done, failed
        of_run, of_worker = ("run",), ("run", "worker")
        self._images = Counter("odtk_images", "Images done.", of_worker)
        self._failures = Counter("odtk_failures", "Images that failed.", of_worker)
        self._crashes = Counter("odtk_crashes", "Workers that died or hung.", of_worker)
        self._rate = Gauge("odtk_images_per_second", "Of each worker, lately.", of_worker)
        self._depth = Gauge("odtk_queue_depth", "Shards that no worker has yet.", of_run)
        self._left = Gauge("odtk_images_left", "Images in shards that are not committed.", of_run)
        for metric in (self._images, self._failures, self._crashes, self._rate, self._depth,
                       self._left):  # fmt: skip
            metric.set_default_tags({"run": run})
        self._count()

    @property
    def traces(self) -> bool:
        """Whether there will be a trace."""
        return self._trace.wanted

    def moments(self, worker: WorkerState, noted: Mapping[Moment, float]) -> None:
        """Record when a worker got how far, in seconds since 1970."""
        self._trace.moments(worker, noted)

    def shard(self, worker: WorkerState, receipt: Receipt, seconds: float) -> None:
        """Record that a shard is done; `seconds` is the time that it took by itself."""
        tags = {"worker": worker.name}
        self._images.inc(receipt.rows, tags)
        if receipt.failed:
            self._failures.inc(receipt.failed, tags)
        if worker.pace:
            self._rate.set(1 / worker.pace, tags)
        self._done += receipt.rows
        self._failed += receipt.failed
        self._count()
        self._trace.shard(worker, receipt, seconds)

    def crash(self, worker: WorkerState, why: str) -> None:
        """Record that a worker died or hung."""
        tags = {"worker": worker.name}
        self._crashes.inc(1, tags)
        self._rate.set(0, tags)  # it would be shown for ever
        self._trace.crash(worker, why)

    def queue(self, shards: int) -> None:
        """Record the number of shards that wait for a worker."""
        self._depth.set(shards)

    def close(self) -> None:
        """Write the trace, and the last counts."""
        self._metadata.close()
        self._trace.close()

    def _count(self) -> None:
        self._left.set(self._planned - self._done)
        self._metadata.set(self._run, self._planned, self._done, self._failed)
