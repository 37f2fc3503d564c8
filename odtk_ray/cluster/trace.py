"""A trace of a run: when each worker had which shard, for chrome://tracing or Perfetto."""

from __future__ import annotations

import json
import time
from typing import Any

from odtk_ray import storage
from odtk_ray.dispatch.worker_state import WorkerState
from odtk_ray.shards.shard_file import Receipt
from odtk_ray.storage.retry import with_retries

_MICRO = 1e6


class Trace:
    """Collects what happens, and writes it at the end.

    Args:
        target: file or URI, in Chrome's format; None keeps nothing.
    """

    def __init__(self, target: str | None) -> None:
        self._target = target
        self._events: list[dict[str, Any]] = []
        self._start = time.monotonic()

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
        names = {event["tid"]: event["args"]["worker"] for event in self._events}
        rows = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": tid, "args": {"name": name}}
            for tid, name in names.items()
        ]
        data = json.dumps({"traceEvents": rows + self._events}).encode()
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
                "tid": worker.number,
                "args": {"worker": worker.name, **details},
            }
        )
