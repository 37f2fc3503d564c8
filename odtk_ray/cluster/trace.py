"""A trace of a run, for chrome://tracing or Perfetto.

It has a line for the driver and one for each worker: the moments of their starts, then the
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


class Trace:
    """Collects what happens, and writes it at the end.

    Args:
        target: file or URI, in Chrome's format; None keeps nothing.
    """

    def __init__(self, target: str | None) -> None:
        self._target = target
        self._events: list[dict[str, Any]] = []
        self._begun = noted_moments().get(Moment.BEGUN, time.time())
        # The dispatcher's times never run backwards; those of moments are the machine's clock.
        self._start = time.monotonic() - (time.time() - self._begun)

    @property
    def wanted(self) -> bool:
        """Whether there will be a trace."""
        return self._target is not None

    def moments(self, worker: WorkerState, noted: Mapping[Moment, float]) -> None:
        """Record when a worker got how far, in seconds since 1970."""
        self._add_moments(worker.number + 1, worker.name, noted)

    def shard(self, worker: WorkerState, receipt: Receipt, seconds: float) -> None:
        """Record that a shard is done; `seconds` is the time that it took by itself."""
        details = {"images": receipt.rows, "failed": receipt.failed, "file": receipt.name}
        self._add(worker, f"shard {receipt.shard}", worker.last_end, seconds, details)

    def crash(self, worker: WorkerState, why: str) -> None:
        """Record that a worker died or hung."""
        self._add(worker, "crash", time.monotonic(), 0.0, {"why": why})

    def close(self) -> None:
        """Write the trace, if it is wanted."""
        if self._target is None:
            return
        self._add_moments(_DRIVER, "driver", noted_moments())
        names = {event["tid"]: event["args"]["worker"] for event in self._events}
        rows = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": name}}
            for tid, name in names.items()
        ]
        about = {"begun": self._begun}
        data = json.dumps({"traceEvents": rows + self._events, "otherData": about}).encode()
        path = storage.absolute(self._target)
        with_retries(lambda: storage.write_atomic(path, data))

    def _add(
        self, worker: WorkerState, name: str, end: float, seconds: float, details: dict[str, Any]
    ) -> None:
        if self._target is None:
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
