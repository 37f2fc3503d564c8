"""Measures the cost of a fleet of unequal workers: the time of a run beside an ideal division.

Workers of a simulated cluster run an engine that sleeps, one node several times longer than the
others, so nothing but the driver's queue decides. Ideal is all images over the sum of the speeds.
The first images done start the clock: the start of processes is not what is measured. The driver's
CPU time says how many workers one driver can serve: eight GPUs, whose launches of 32 take 31 ms,
are `--launch 32 --milliseconds 0.97` and `--factor 1` eight times.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from inputs import write_model
from measure import cpu_seconds, load, machine
from numpy.typing import NDArray
from PIL import Image
from silent import Silent

from odtk_ray.config import InferConfig
from odtk_ray.engines.protocol import HostEngine
from odtk_ray.records import Detections
from odtk_ray.run.pipeline import infer
from odtk_ray.settings import RunSettings

FACTOR = "ODTK_BENCH_FACTOR"  # environment of a node: how many times slower it is


class SleepingEngine(HostEngine):
    """Takes a fixed time for each picture and finds as many objects in each."""

    key = "sleeping"

    def __init__(self, seconds: float, count: int, path: str, settings: RunSettings) -> None:
        self.prep = settings.preprocessing
        rng = np.random.default_rng(0)
        corners = rng.random((count, 4), np.float32).cumsum(axis=1)
        scores = np.sort(rng.random(count, np.float32))[::-1]
        self._found = Detections(scores, corners, np.zeros(count, np.int32))
        self._seconds = seconds * float(os.environ.get(FACTOR, "1"))

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[Detections]:
        """See `HostEngine.detect`."""
        time.sleep(self._seconds * len(pictures))
        return [self._found] * len(pictures)


class Clock(Silent):
    """A reporter that notes when images were done, and the driver's CPU seconds by then."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int, float]] = []

    def warn(self, text: str, hint: str = "") -> None:
        """Print it, since it spoils the measurement."""
        print(f"warning: {text}")

    def progress(self, done: int, failed: int) -> None:
        """Note the time of every change."""
        if not self.seen or done != self.seen[-1][1]:
            self.seen.append((time.monotonic(), done, cpu_seconds()))

    def line(self, total: int, speed: float) -> str:
        """Describe what lies between the first images done and the last, and behind those.

        Args:
            total: images.
            speed: images a second of all workers.
        """
        first, last = next(seen for seen in self.seen if seen[1]), self.seen[-1]
        if last[1] != total:
            raise RuntimeError(f"{last[1]} of {total} images were done")
        seconds, images, cpu = last[0] - first[0], total - first[1], last[2] - first[2]
        behind = time.monotonic() - last[0], cpu_seconds() - last[2]
        return (
            f"{seconds:.1f} s, ideal {images / speed:.1f} s, "
            f"ratio {seconds * speed / images:.3f}; {images / seconds:,.0f} img/s; the driver: "
            f"{cpu / seconds:.2f} of a core, {cpu / images * 1e3:.3f} ms an image; "
            f"{behind[0]:.1f} s ({behind[1]:.1f} of CPU) from there to the output"
        )


@click.command()
@click.option("--shards", type=click.IntRange(4), default=128, show_default=True)
@click.option("--factor", type=float, multiple=True, default=[1.0, 5.0], show_default=True,
              help="How many times slower each worker is.")  # fmt: skip
@click.option("--milliseconds", type=float, default=10.0, show_default=True, help="An image.")
@click.option("--launch", type=click.IntRange(1), default=4, show_default=True, help="Images.")
@click.option("--detections", type=click.IntRange(0), default=0, show_default=True,
              help="Of an image.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
def main(
    shards: int,
    factor: Sequence[float],
    milliseconds: float,
    launch: int,
    detections: int,
    runs: int,
) -> None:
    """Run shards of 32 images on one simulated node a factor."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0})
    for value in factor:
        cluster.add_node(num_cpus=1, num_gpus=1, env_vars={FACTOR: str(value)})
    speed = sum(1000 / milliseconds / value for value in factor)
    print(f"{machine()}\n{shards} shards of 32 images, workers {factor}; load {load():.1f}")
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        for i in range(32 * shards):
            Image.new("RGB", (16, 16)).save(folder / "pictures" / f"{i:06d}.png")
        write_model(folder / "model.pth", "MobileNetV2FPN", classes=3, channels=64)
        config = InferConfig(
            str(folder / "model.pth"),
            str(folder / "pictures"),
            output=(str(folder / "out.json"),),
            batch=launch * len(factor),
            threads_per_worker=1,
            address=cluster.address,
            resize=16,
            max_size=16,
        )
        for _ in range(runs):
            clock = Clock()
            infer(config, clock, functools.partial(SleepingEngine, milliseconds / 1000, detections))
            print(clock.line(32 * shards, speed), flush=True)
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Workers unpickle this file's engine by its module.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    main()
