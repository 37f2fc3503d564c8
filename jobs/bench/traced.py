"""An engine of GPUs that notes when it works and when it waits; made in a worker's process."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from odtk_ray.artifacts.sidecar import is_tensorrt_plan
from odtk_ray.settings import Postprocessing, RunSettings


def traced_engine(trace: str, options: dict[str, Any], model: str, settings: RunSettings) -> Any:
    """Make an engine that records its start, its first read, and the times of each launch.

    Args:
        trace: folder in which the process writes `<pid>.jsonl`, a line a launch, and `<pid>.start`,
            the times of its start: of the call, and when imports, network and graphs were there.
        options: of the engine.
        model: a checkpoint, or a plan, for which torch is not imported.
        settings: of the run.
    """
    marks = [time.time()]
    file = Path(trace, str(os.getpid()))
    base, loaded_model = _engine_class(model)
    marks.append(time.time())

    class Traced(base):  # type: ignore[misc, valid-type]
        first_read = 0.0

        def read(self, data: Any) -> Any:
            self.first_read = self.first_read or time.time()
            return super().read(data)

        def prepare(self, shapes: Any) -> None:
            marks.append(time.time())
            super().prepare(shapes)

        def _queue(self, pictures: Any, *rest: Any) -> Any:
            loaded = time.time()
            late = last_of[0].query()
            begin, done = self._device.event(), self._device.event()
            begin.record()
            waited_for = super()._queue(pictures, *rest)
            done.record()
            last_of[0] = done
            host[-1] += [loaded, time.time(), late]
            spans.append((begin, done, len(pictures), host[-1]))
            return waited_for

        def launch(self, pictures: Any, shape: Any) -> Any:
            host.append([last_of[0].query(), time.time()])
            finish = super().launch(pictures, shape)

            def traced() -> Any:
                outcomes = finish()
                begin, done, count, times = spans.pop(0)
                done.synchronize()
                line = [begin.elapsed(start), done.elapsed(start), count, *times]
                with file.with_suffix(".jsonl").open("a", encoding="ascii") as lines:
                    lines.write(json.dumps([self.first_read, time.time(), *line]) + "\n")
                return outcomes

            return traced

    host: list[list[Any]] = []
    spans: list[tuple[Any, Any, int, list[Any]]] = []
    engine = Traced(loaded_model, settings.preprocessing, Postprocessing(), **options)
    marks[2:] = marks[2:] or [time.time()]
    file.with_suffix(".start").write_text(json.dumps([*marks, time.time()]), encoding="ascii")
    start = engine._device.event()
    start.record()
    start.synchronize()
    last_of = [start]  # the end of the last launch: once it is past, the GPU has nothing to do
    return engine


def _engine_class(model: str) -> tuple[Any, Any]:
    """Return the class, and what it takes for a model."""
    if is_tensorrt_plan(model):
        from odtk_ray.engines.tensorrt import TensorRTEngine

        return TensorRTEngine, model
    from odtk_ray.engines.cuda import CudaEngine
    from odtk_ray.model.checkpoint import load_checkpoint

    return CudaEngine, load_checkpoint(model)


def lateness(gaps: Sequence[float], host: Sequence[Sequence[Any]]) -> str:
    """Explain why the GPU waited: its gaps, the engine thread's times, when the GPU ran dry.

    Args:
        gaps: milliseconds between launches.
        host: of each launch: whether the GPU had nothing to do when its pictures came, that time,
            the time when they were decoded, when all was queued, and whether the GPU had nothing to
            do when they were decoded.
    """
    parts = ", ".join(f"{np.percentile(gaps, p):.2f}" for p in (10, 50, 90))
    load = [1e3 * (loaded - began) for _, began, loaded, _, _ in host]
    queue = [1e3 * (queued - loaded) for _, _, loaded, queued, _ in host]
    before = sum(bool(row[0]) for row in host)
    during = sum(bool(row[4]) for row in host) - before
    return (
        f"    gaps at 10, 50, 90%: {parts} ms; loading {np.median(load):.1f} ms, at most "
        f"{max(load):.1f}, queueing {np.median(queue):.2f} ms (medians); of {len(host)} launches "
        f"the GPU ran dry before the loading of {before}, during that of {during}"
    )


def print_start(name: str, rate: float, marks: Sequence[float], merge: float) -> None:
    """Print what the time until the first batch went into, from points in time."""
    start = " ".join(f"{after - before:.1f}" for before, after in itertools.pairwise(marks))
    print(
        f"({name}) {rate:.0f} img/s; s to plan, process, imports, network, graphs, first batch: "
        f"{start}; last shard to JSON {merge:.2f} s",
        flush=True,
    )
