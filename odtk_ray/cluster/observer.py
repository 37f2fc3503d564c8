"""Records the progress of a run: metrics on Ray's Prometheus endpoint, and a trace."""

from __future__ import annotations

from collections.abc import Mapping

from odtk_ray.cluster.trace import Trace
from odtk_ray.dispatch.worker_state import WorkerState
from odtk_ray.moments import Moment
from odtk_ray.shards.shard_file import Receipt


class Observer:
    """Records starts of workers, finished shards and crashes for the dispatcher.

    Ray adds `ray_` to the metrics' names; the images a second of the fleet are the rate of
    `odtk_images`.

    Args:
        trace: file or URI for the trace; None keeps none.
    """

    def __init__(self, trace: str | None) -> None:
        from ray.util.metrics import Counter, Gauge

        self._trace = Trace(trace)
        of_worker = ("worker",)
        self._images = Counter("odtk_images", "Images done.", of_worker)
        self._failures = Counter("odtk_failures", "Images that failed.", of_worker)
        self._crashes = Counter("odtk_crashes", "Workers that died or hung.", of_worker)
        self._rate = Gauge("odtk_images_per_second", "Of each worker, lately.", of_worker)
        self._depth = Gauge("odtk_queue_depth", "Shards that no worker has yet.")

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
        self._trace.shard(worker, receipt, seconds)

    def crash(self, worker: WorkerState, why: str) -> None:
        """Record that a worker died or hung."""
        self._crashes.inc(1, {"worker": worker.name})
        self._trace.crash(worker, why)

    def queue(self, shards: int) -> None:
        """Record the number of shards that wait for a worker."""
        self._depth.set(shards)

    def close(self) -> None:
        """Write the trace."""
        self._trace.close()
