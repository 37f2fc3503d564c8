"""Records the progress of a run: metrics on Ray's Prometheus endpoint, and a trace.

The trace has a line for the driver and one for each worker: the moments of their starts, then the
worker's shards. It counts from the beginning of the run, whose time is `otherData.begun`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from odtk_ray import storage
from odtk_ray.dispatch.worker_state import WorkerState
from odtk_ray.moments import Moment, noted_moments
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.storage.retry import with_retries

_MICRO = 1e6
_DRIVER = 0  # its line in the trace; those of the workers follow


class Observer:
    """Records starts of workers, finished shards and crashes for the dispatcher.

    Ray adds `ray_` to the metrics' names; the images a second of the fleet are the rate of
    `odtk_images`.

    Args:
        trace: file or URI for the trace, in Chrome's format (chrome://tracing, Perfetto); None
            keeps none.
    """

    def __init__(self, trace: str | None) -> None:
        from ray.util.metrics import Counter, Gauge

        self._trace = trace
        self._events: list[dict[str, Any]] = []
        self._begun = noted_moments().get(Moment.BEGUN, time.time())
        # The dispatcher's times never run backwards; those of moments are the machine's clock.
        self._start = time.monotonic() - (time.time() - self._begun)
        of_worker = ("worker",)
        self._images = Counter("odtk_images", "Images done.", of_worker)
        self._failures = Counter("odtk_failures", "Images that failed.", of_worker)
        self._crashes = Counter("odtk_crashes", "Workers that died or hung.", of_worker)
        self._rate = Gauge("odtk_images_per_second", "Of each worker, lately.", of_worker)
        self._depth = Gauge("odtk_queue_depth", "Shards that no worker has yet.")

    @property
    def traces(self) -> bool:
        """Whether there will be a trace."""
        return self._trace is not None

    def moments(self, worker: WorkerState, noted: Mapping[Moment, float]) -> None:
        """Record when a worker got how far, in seconds since 1970."""
        self._add_moments(worker.number + 1, worker.name, noted)

    def shard(self, worker: WorkerState, receipt: Receipt, seconds: float) -> None:
        """Record that a shard is done; `seconds` is the time that it took by itself."""
        tags = {"worker": worker.name}
        self._images.inc(receipt.rows, tags)
        if receipt.failed:
            self._failures.inc(receipt.failed, tags)
        if worker.pace:
            self._rate.set(1 / worker.pace, tags)
        details = {"images": receipt.rows, "failed": receipt.failed, "file": receipt.name}
        self._add(worker, f"shard {receipt.shard}", worker.last_end, seconds, details)

    def crash(self, worker: WorkerState, why: str) -> None:
        """Record that a worker died or hung."""
        self._crashes.inc(1, {"worker": worker.name})
        self._add(worker, "crash", time.monotonic(), 0.0, {"why": why})

    def queue(self, shards: int) -> None:
        """Record the number of shards that wait for a worker."""
        self._depth.set(shards)

    def close(self) -> None:
        """Write the trace."""
        if self._trace is None:
            return
        self._add_moments(_DRIVER, "driver", noted_moments())
        names = {event["tid"]: event["args"]["worker"] for event in self._events}
        rows = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": name}}
            for tid, name in names.items()
        ]
        about = {"begun": self._begun}
        data = json.dumps({"traceEvents": rows + self._events, "otherData": about}).encode()
        path = storage.absolute(self._trace)
        with_retries(lambda: storage.write_atomic(path, data))

    def _add(
        self, worker: WorkerState, name: str, end: float, seconds: float, details: dict[str, Any]
    ) -> None:
        if self._trace is None:
            return
        self._events.append(
            {
                "name": name,
                "ph": "X",
                "ts": round((end - seconds - self._start) * _MICRO),
                "dur": round(seconds * _MICRO),
                "pid": 1,
                "tid": worker.number + 1,
                "args": {"worker": worker.name, **details},
            }
        )

    def _add_moments(self, line: int, name: str, noted: Mapping[Moment, float]) -> None:
        self._events += [
            {
                "name": moment.value,
                "ph": "i",
                "s": "t",
                "ts": round((when - self._begun) * _MICRO),
                "pid": 1,
                "tid": line,
                "args": {"worker": name},
            }
            for moment, when in noted.items()
        ]
