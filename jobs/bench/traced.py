"""An engine of GPUs that notes when it works and when it waits; made in a worker's process."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from odtk_ray.config import Postprocessing, Preprocessing

PREP = Preprocessing()


def traced_engine(trace: str, model: str, options: dict[str, Any]) -> Any:
    """An engine that notes its start, its first read, and the GPU's and its own time a launch."""
    marks = [time.time()]
    import torch

    from odtk_ray.engines.cuda import CudaEngine
    from odtk_ray.model.checkpoint import load_checkpoint

    marks.append(time.time())

    class Traced(CudaEngine):
        first_read = 0.0

        def read(self, data: bytes) -> Any:
            self.first_read = self.first_read or time.time()
            return super().read(data)

        def _warm_up(self, shapes: Any) -> None:
            marks.append(time.time())
            super()._warm_up(shapes)

        def _queue(self, pictures: Any, *rest: Any) -> Any:
            loaded = time.time()
            late = dry(self)
            begin, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record(self._stream)
            waited_for = super()._queue(pictures, *rest)
            done.record(self._stream)
            host[-1] += [loaded, time.time(), late]
            spans.append((begin, done, len(pictures), host[-1]))
            return waited_for

        def launch(self, pictures: Any, shape: Any) -> Any:
            host.append([dry(self), time.time()])
            finish = super().launch(pictures, shape)

            def traced() -> Any:
                outcomes = finish()
                begin, done, count, times = spans.pop(0)
                done.synchronize()
                line = [base.elapsed_time(begin), base.elapsed_time(done), count, *times]
                with open(trace, "a", encoding="ascii") as file:
                    file.write(json.dumps([self.first_read, time.time(), *line]) + "\n")
                return outcomes

            return traced

    def dry(engine: Any) -> bool:
        """Whether the GPU has done all that it was given."""
        return bool(engine._stream.query())

    host: list[list[Any]] = []
    spans: list[tuple[Any, Any, int, list[Any]]] = []
    engine = Traced(load_checkpoint(model), PREP, Postprocessing(), **options)
    Path(trace + ".start").write_text(json.dumps([*marks, time.time()]), encoding="ascii")
    base = torch.cuda.Event(enable_timing=True)
    base.record(engine._stream)
    base.synchronize()
    return engine


def lateness(gaps: Sequence[float], host: Sequence[Sequence[Any]]) -> str:
    """Why the GPU waited: its gaps, how long the engine's thread took, and when the GPU ran dry.

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
