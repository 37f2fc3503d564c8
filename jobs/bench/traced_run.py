"""Runs `odtk-ray infer` in this process with engines that note when their GPUs work."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from overhead import Stages
from traced import lateness, print_start, traced_engine

from odtk_ray.artifacts.sidecar import is_tensorrt_plan
from odtk_ray.config import InferConfig
from odtk_ray.images.resize import network_size, padded_size
from odtk_ray.settings import Preprocessing

PREP = Preprocessing()


def shapes_of(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the network inputs of picture sizes, (height, width), largest first."""
    inputs = {
        padded_size(*network_size(width, height, PREP)[:2], PREP.stride)[::-1]
        for width, height in sizes
    }
    return sorted(inputs, key=lambda shape: (-shape[0] * shape[1], shape))


def traced_run(
    folder: Path,
    name: str,
    model: str,
    sizes: Sequence[tuple[int, int]],
    setting: Setting,
) -> TracedRun:
    """Run `infer` on the folder's pictures, with engines that note when their GPUs work."""
    from odtk_ray.run.pipeline import infer

    trace, output = trace_folder(folder, name), folder / f"{name}.json"
    shutil.rmtree(trace, ignore_errors=True)
    trace.mkdir()
    config = InferConfig(
        model,
        str(folder / name),
        output=(str(output),),
        batch=setting.batch * setting.gpus,
        threads_per_worker=setting.threads,
        workers=setting.gpus,
        resize=PREP.resize,
        max_size=PREP.max_size,
    )
    options: dict[str, Any] = {"launch_batch": setting.batch, "threads": setting.threads}
    if not is_tensorrt_plan(model):
        options["shapes"] = shapes_of(sizes)
    factory = functools.partial(traced_engine, str(trace), options)
    stages = Stages()
    started = time.time()
    summary = infer(config, stages, factory)
    written = output.stat().st_mtime
    workers = [read_trace(path, setting.batch) for path in sorted(trace.glob("*.jsonl"))]
    run = TracedRun(summary.images, started, written, workers)
    marks = [started, stages.times[0], *workers[0].start, min(w.first_done for w in workers)]
    print_start(name, run.rate, marks, written - stages.times[1])
    for worker in workers:
        print(worker.remarks, flush=True)
    return run


def trace_folder(folder: Path, name: str) -> Path:
    """Return where the workers of a run note what they do, a file for each process."""
    return folder / f"{name}.trace"


@dataclass(frozen=True)
class Setting:
    """How a run is made: images a launch, decode threads a worker, and GPUs."""

    batch: int
    threads: int
    gpus: int


@dataclass(frozen=True)
class WorkerTrace:
    """What one worker's engine noted; shares in %, between its first and its last launch."""

    start: list[float]
    first_read: float
    first_done: float
    seconds: float
    idle: float
    filled: float
    remarks: str


@dataclass(frozen=True)
class TracedRun:
    """One run: its images, when it was started and its output written (epoch s), its workers."""

    images: int
    started: float
    written: float
    workers: list[WorkerTrace]

    @property
    def first_read(self) -> float:
        """Return when the first file was read."""
        return min(worker.first_read for worker in self.workers)

    @property
    def rate(self) -> float:
        """Return images a second from the first file read to the output."""
        return self.images / (self.written - self.first_read)

    @property
    def idle(self) -> float:
        """Return the GPUs' mean idle share in %."""
        return statistics.mean(worker.idle for worker in self.workers)

    def row(self) -> tuple[float, ...]:
        """Return img/s, GPU idle in %, GPU in s, slots filled in %, s to the first batch."""
        return (
            self.rate,
            self.idle,
            max(worker.seconds for worker in self.workers),
            statistics.mean(worker.filled for worker in self.workers),
            min(worker.first_done for worker in self.workers) - self.started,
        )


def read_trace(path: Path, batch: int) -> WorkerTrace:
    """Read one worker's trace."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    spans = sorted(tuple(line[2:4]) for line in lines)
    gaps = [max(0.0, b[0] - a[1]) for a, b in itertools.pairwise(spans)]
    longest = [f"{gaps[i]:.0f} ms at {i}" for i in np.argsort(gaps)[::-1][:4]]
    whole = spans[-1][1] - spans[0][0]
    return WorkerTrace(
        start=json.loads(path.with_suffix(".start").read_text(encoding="utf-8")),
        first_read=lines[0][0],
        first_done=min(line[1] for line in lines),
        seconds=whole / 1e3,
        idle=100 * sum(gaps) / whole,
        filled=100 * sum(line[4] for line in lines) / (batch * len(lines)),
        remarks=f"    longest gaps of {len(gaps)}: {', '.join(longest)}\n"
        + lateness(gaps, [line[5:] for line in lines]),
    )
