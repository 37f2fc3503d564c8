"""TensorRT plans on a GPU, without torch: network, decoding and NMS of batches of noise.

    python jobs/bench/biased.py model.pth && odtk-ray export model.pth model.onnx --size 800 1280
    odtk-ray export model.onnx model.plan --dynamic-batch-opts 1 8 16
    python jobs/bench/plans.py model.plan

The input lies on the GPU; resizing and the copy of the results are not part of it. `ms` is the
median of single launches, `img/s` what they would give one after the other; `two streams` is the
rate of two engines whose launches take turns, so that one fills what the other leaves free.
"""

from __future__ import annotations

import statistics
from typing import Any

import click
import numpy as np
from measure import machine, table

from cuda_ops import Device
from odtk_ray.artifacts.sidecar import Sidecar, read_sidecar
from odtk_ray.engines.tensorrt import TensorRTEngine
from odtk_ray.settings import Preprocessing

INPUTS = 4  # batches of noise, taken in turn
THRESHOLD = 0.05


def preprocessing(about: Sidecar) -> Preprocessing:
    """Return what odtk-ray does to pictures for a plan."""
    least, most = sorted(about.model.size)
    return Preprocessing(fit=about.model.size, stride=32, resize=least, max_size=most)


def make_engine(path: str, about: Sidecar, batch: int) -> TensorRTEngine:
    """Make an engine whose pictures are decoded by the CPU."""
    prep, post = preprocessing(about), about.model.post
    return TensorRTEngine(path, prep, post, launch_batch=batch, threads=1, jpeg=())


class Noise:
    """Batches of normalised noise in page-locked memory."""

    def __init__(self, device: Device, batch: int, size: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        self._device = device
        self._arrays = [device.pinned((batch, 3, *size), np.float32) for _ in range(INPUTS)]
        for array in self._arrays:
            rng.standard_normal(out=array, dtype=np.float32)

    def feed(self, engine: Any, number: int) -> None:
        """Copy one to where the engine's launch reads it."""
        self._device.upload(engine._step._input.ptr, self._arrays[number % INPUTS])


def candidates(engine: TensorRTEngine, batch: int) -> float:
    """Count scores over the threshold in an image of the last launch."""
    outputs = engine._step.outputs()
    scores = outputs[: len(outputs) // 2]  # the others are box deltas
    return sum(int((level > THRESHOLD).sum()) for level in scores) / batch


def single(engine: TensorRTEngine, noise: Noise, launches: int) -> list[float]:
    """Measure the milliseconds of launches, each with the GPU to itself."""
    device, times = engine._device, []
    for number in range(launches + 3):
        noise.feed(engine, number)
        device.synchronize()
        begin, end = device.event(), device.event()
        begin.record()
        engine._step.run()
        end.record()
        end.synchronize()
        times.append(end.elapsed(begin))
    return times[3:]


def in_turn(engines: list[TensorRTEngine], launches: int) -> float:
    """Measure the milliseconds per launch of engines that take turns without waiting."""
    first = engines[0]._device
    for engine in engines:
        engine._device.synchronize()
    begin, end = first.event(), first.event()
    begin.record()
    for number in range(launches * len(engines)):
        engines[number % len(engines)]._step.run()
    for engine in engines[1:]:
        engine._device.synchronize()
    end.record()
    end.synchronize()
    return end.elapsed(begin) / (launches * len(engines))


def measure(path: str, batch: int, launches: int) -> tuple[str, ...]:
    """Return a row of the table."""
    about = read_sidecar(path)
    engines = [make_engine(path, about, batch) for _ in range(2)]
    noise = Noise(engines[0]._device, batch, about.model.size)
    for engine in engines:
        noise.feed(engine, 0)
    times = single(engines[0], noise, launches)
    found = candidates(engines[0], batch)
    one, two = in_turn(engines[:1], launches), in_turn(engines, launches)
    for engine in reversed(engines):
        engine.close()
    middle = statistics.median(times)
    height, width = about.model.size
    return (
        f"{', '.join(about.model.backbones)} {height}x{width}",
        about.model.precision,
        f"{batch}",
        f"{found:,.0f}",
        f"{middle:.2f}",
        f"{min(times):.2f} to {max(times):.2f}",
        f"{batch / middle * 1e3:,.0f}",
        f"{batch / one * 1e3:,.0f}",
        f"{batch / two * 1e3:,.0f}",
    )


@click.command(help=__doc__.splitlines()[0])
@click.argument("plans", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--batch", type=click.IntRange(1), multiple=True, default=[1, 8], show_default=True)
@click.option("--launches", type=click.IntRange(1), default=50, show_default=True)
def main(plans: tuple[str, ...], batch: tuple[int, ...], launches: int) -> None:
    print(f"{machine()}; {read_sidecar(plans[0]).gpu}")
    head = ("network", "precision", "batch", "candidates", "ms", "all launches", "img/s",
            "back to back", "two streams")  # fmt: skip
    rows: list[tuple[str, ...]] = [head]
    for path in plans:
        for size in batch:
            rows.append(measure(path, size, launches))
            print(*rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
