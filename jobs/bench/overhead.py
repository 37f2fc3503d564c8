"""Measures what Ray, shards, Parquet and merge cost per image, against a plain loop.

Both read, decode and resize the same JPEGs in the same number of threads. With the `stored` engine,
which returns stored detections at once, everything above the plain loop is overhead: the goal is at
most 0.5 ms an image. With the `model` engine, a small network, the pipeline should take at most 10%
longer. Runs alternate between the two, and times are medians; Ray is started before.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from inputs import HEIGHT, WIDTH, write_model, write_pictures
from measure import Timing, TreeCpu, load, machine, table
from numpy.typing import NDArray
from silent import Silent

from odtk_ray.config import InferConfig
from odtk_ray.engines.protocol import Engine, EngineFactory, HostEngine
from odtk_ray.images.decode_image import Picture, load_picture
from odtk_ray.images.resize import padded_size
from odtk_ray.records import Detections
from odtk_ray.run.pipeline import infer
from odtk_ray.settings import Postprocessing, Preprocessing, RunSettings
from odtk_ray.storage import read_bytes

if TYPE_CHECKING:
    from odtk_ray.engines.pytorch import PyTorchEngine

DETECTIONS = 20


class StoredEngine(HostEngine):
    """Gives the same seeded detections for every picture, at once."""

    key = "stored"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        corner, size = rng.uniform(0, 200, (2, DETECTIONS, 2))
        boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
        scores = -np.sort(-rng.uniform(0.05, 1, DETECTIONS)).astype(np.float32)
        self._found = Detections(scores, boxes, rng.integers(0, 3, DETECTIONS).astype(np.int32))

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[Detections]:
        """See `HostEngine.detect`."""
        return [self._found] * len(pictures)


def in_worker(
    make_engine: EngineFactory, marker: str, path: str, settings: RunSettings
) -> Engine[Any]:
    """Make a worker's engine, and a file whose time says when the worker was there."""
    engine = make_engine(path, settings)
    Path(marker).touch()
    return engine


def stored_engine(path: str, settings: RunSettings) -> StoredEngine:
    """Make an engine of stored detections, whatever the model."""
    engine = StoredEngine()
    engine.prep = settings.preprocessing
    return engine


def model_engine(path: str, settings: RunSettings) -> PyTorchEngine:
    """Make an engine of the small network."""
    return small_network(path, settings.preprocessing, settings.launch_batch, settings.threads)


def small_network(path: str, prep: Preprocessing, batch: int, threads: int) -> PyTorchEngine:
    """Build the small network."""
    from odtk_ray.engines.pytorch import PyTorchEngine
    from odtk_ray.model.checkpoint import load_checkpoint

    post = Postprocessing()
    return PyTorchEngine(
        load_checkpoint(path), post, prep=prep, launch_batch=batch, threads=threads
    )


def plain_stored(paths: Sequence[str], prep: Preprocessing, threads: int) -> list[Detections]:
    """Decode in threads, and collect stored detections in the place of an engine's."""
    engine = StoredEngine()

    def detect(path: str) -> list[Detections]:
        picture = load_picture(read_bytes(path), prep)
        return engine.detect([picture.pixels], picture.pixels.shape[:2])

    with ThreadPoolExecutor(threads) as pool:
        return [found for row in pool.map(detect, paths) for found in row]


def plain_model(
    paths: Sequence[str], prep: Preprocessing, threads: int, engine: HostEngine, batch: int
) -> list[Detections]:
    """Run the loop that one would write by hand: decode a batch in threads, detect, repeat."""
    found: list[Detections] = []

    def decode_image(path: str) -> Picture:
        return load_picture(read_bytes(path), prep)

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), batch):
            pictures = list(pool.map(decode_image, paths[start : start + batch]))
            height, width = pictures[0].pixels.shape[:2]  # all files have the same size
            shape = padded_size(width, height, prep.stride)[::-1]
            rows = engine.detect([picture.pixels for picture in pictures], shape)
            for picture, row in zip(pictures, rows, strict=True):
                boxes = row.boxes / np.float32(picture.ratio)
                found.append(Detections(row.scores, boxes, row.classes))
    return found


@dataclass
class Stages(Silent):
    """A reporter that notes when a run passes from one stage to the next."""

    times: list[float] = field(default_factory=list)

    def begin(self, total: int, done: int) -> None:
        """Note that the run plan is written."""
        self.times.append(time.time())

    def end(self) -> None:
        """Note that the last shard is committed."""
        self.times.append(time.time())


@dataclass(frozen=True)
class Bench:
    """Files, settings and engine of one comparison."""

    folder: Path
    paths: list[str]
    prep: Preprocessing
    batch: int
    threads: int
    engine: str

    def pipeline(self, count: int) -> list[float]:
        """Run `odtk_ray.run.pipeline.infer`; return the seconds of plan, start, detect, merge."""
        factory: EngineFactory = model_engine if self.engine == "model" else stored_engine
        config = InferConfig(
            str(self.folder / "model.pth"),
            str(self.folder / "pictures"),
            output=(str(self.folder / "detections.json"),),
            batch=self.batch,
            workers=1,
            threads_per_worker=self.threads,
            limit=count,
            resize=self.prep.resize,
            max_size=self.prep.max_size,
        )
        marker = self.folder / "ready"
        stages = Stages([time.time()])
        summary = infer(config, stages, functools.partial(in_worker, factory, str(marker)))
        stages.times += [marker.stat().st_mtime, time.time()]
        stages.times.sort()
        if summary.failed or summary.images != count:
            raise RuntimeError(f"{summary.failed} of {summary.images} images failed")
        return [b - a for a, b in itertools.pairwise(stages.times)]

    def plain(self) -> Callable[[int], list[float]]:
        """Run the loop to compare with, over a number of images; return its seconds."""
        if self.engine == "stored":
            loop = functools.partial(plain_stored, prep=self.prep, threads=self.threads)
        else:
            model = str(self.folder / "model.pth")
            engine = small_network(model, self.prep, self.batch, self.threads)
            loop = functools.partial(
                plain_model,
                prep=self.prep,
                threads=self.threads,
                engine=engine,
                batch=self.batch,
            )

        def run(count: int) -> list[float]:
            started = time.perf_counter()
            if len(loop(self.paths[:count])) != count:
                raise RuntimeError("the plain loop lost images")
            return [time.perf_counter() - started]

        return run


def compare(bench: Bench, count: int, runs: int) -> str:
    """Alternate between loop and pipeline; also at a quarter, which tells fixed from marginal."""
    plain = bench.plain()
    short = max(1, count // 4)
    kinds = [("plain loop", plain), ("pipeline", bench.pipeline)]
    timings = {(name, n): Timing() for n in (short, count) for name, _ in kinds}
    bench.pipeline(min(short, 64))  # imports and caches
    plain(min(short, 64))
    cpu = TreeCpu()
    with cpu.watching():
        for _ in range(runs):
            for n in (short, count):
                for name, run in kinds:
                    timings[name, n].add(run, n, cpu)
    rows: list[tuple[str, ...]] = [("", "images", "wall/image", "CPU/image", "all runs", "stages")]
    rows += [timing.row(name, n) for (name, n), timing in timings.items()]
    return f"{table(rows)}\n\n" + verdict(timings, short, count)


def verdict(timings: dict[tuple[str, int], Timing], short: int, count: int) -> str:
    """Format what a run costs above the plain loop, in fixed seconds and ms per image."""
    plain, ours = timings["plain loop", count], timings["pipeline", count]
    above, share = ours.wall - plain.wall, ours.wall / plain.wall - 1
    started = statistics.median(stages[1] for stages in ours.stages)
    brief = timings["pipeline", short].wall - timings["plain loop", short].wall
    marginal = (above - brief) / max(1, count - short)
    cpu = statistics.median(ours.cpu) - statistics.median(plain.cpu)
    return (
        f"Above the plain loop: {above / count * 1e3:+.2f} ms an image ({share:+.1%}), "
        f"{(above - started) / count * 1e3:+.2f} ms without the start of the worker process; "
        f"CPU time {cpu / count * 1e3:+.2f} ms.\n"
        f"As a straight line: {above - marginal * count:.2f} s a run, "
        f"{marginal * 1e3:+.2f} ms an image.\n"
    )


@click.command()
@click.option("--engine", type=click.Choice(["stored", "model"]), default="stored")
@click.option("--images", type=click.IntRange(2), default=2000, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
@click.option("--resize", type=click.IntRange(1), multiple=True, default=[400, 800],
              show_default=True, help="Short side in pixels; may be repeated.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1), default=2, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="[default: all cores]")
def main(
    engine: str, images: int, runs: int, resize: Sequence[int], batch: int, threads: int | None
) -> None:
    """Compare the pipeline with a plain loop; every figure is a median."""
    threads = threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as name, ray_session(threads):
        folder = Path(name)
        size = write_pictures(folder / "pictures", images)
        write_model(folder / "model.pth", "MobileNetV2FPN", classes=3, channels=64)
        paths = sorted(map(str, (folder / "pictures").iterdir()))
        for side in resize:
            bench = Bench(folder, paths, Preprocessing(resize=side), batch, threads, engine)
            print(machine())
            print(
                f"engine {engine}, {runs} runs, {WIDTH}x{HEIGHT} JPEG of {size / 1e3:.0f} kB, "
                f"resize {side}, batch {batch}, {threads} threads; load {load():.1f}"
            )
            result = compare(bench, images, runs)
            print(f"\n{result}load at the end {load():.1f}\n", flush=True)


@contextlib.contextmanager
def ray_session(cpus: int) -> Iterator[None]:
    """Start Ray in this process, with a number of CPU slots."""
    import ray

    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray gives its workers a niceness of 15: beside other work they would lose to the plain loop.
    os.environ.setdefault("RAY_worker_niceness", "0")
    main()
