"""odtk_infer beside odtk-ray on one TensorRT plan: the same bytes, and images a second.

    cmake -B build cuda_ops/cpp && cmake --build build -j
    python jobs/bench/cpp_beside_python.py model.plan --images DIR --programs build

Both decode on the CPU. Compared are every launch's network input and raw outputs, and the JSON of
the detections. Rates are medians of rounds over all images.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from measure import machine, table
from numpy.typing import NDArray
from plans import make_engine, preprocessing

from odtk_ray.artifacts.sidecar import Sidecar, read_sidecar
from odtk_ray.datasets.image_sources import find_images
from odtk_ray.detect.detector import Detector

Arrays = list[NDArray[np.float32]]


def python_tensors(plan: str, about: Sidecar, batch: int, paths: list[str]) -> Iterator[Arrays]:
    """Yield the input and the raw outputs of each launch."""
    with make_engine(plan, about, batch) as engine:
        device = engine._device
        for start in range(0, len(paths), batch):
            pictures = [engine.read(Path(path).read_bytes()) for path in paths[start:][:batch]]
            engine.launch(pictures, about.model.size)()
            given = device.pinned((batch, 3, *about.model.size), np.float32)
            device.download(given, engine._step._input.ptr)
            yield [given, *engine.outputs()]


def count_equal(plan: str, about: Sidecar, batch: int, paths: list[str], dump: Path) -> list[str]:
    """Compare all launches' tensors bit by bit; return a table's row."""
    names = ["input_1", *about.model.output_names]
    inputs = outputs = launches = 0
    for number, arrays in enumerate(python_tensors(plan, about, batch, paths)):
        launches += 1
        there = [np.load(dump / f"{number * batch:06}-{name}.npy") for name in names]
        same = [a.tobytes() == b.tobytes() for a, b in zip(arrays, there, strict=True)]
        inputs += same[0]
        outputs += all(same[1:])
    return [f"{inputs} of {launches}", f"{outputs} of {launches}"]


def python_rate(
    plan: str, about: Sidecar, batch: int, paths: list[str], threads: int, rounds: int
) -> float:
    """Measure images a second from files, the median of rounds after one that does not count."""
    times = []
    with Detector(
        lambda: make_engine(plan, about, batch),
        preprocessing(about),
        launch_batch=batch,
        threads=threads,
    ) as detector:
        for _ in range(rounds + 1):
            begun = time.perf_counter()
            detector.detect(paths)
            times.append(time.perf_counter() - begun)
    return len(paths) / statistics.median(times[1:])


@click.command(help=(__doc__ or "").splitlines()[0])
@click.argument("plan")
@click.option("--images", required=True)
@click.option("--programs", required=True, help="Folder of odtk_infer.")
@click.option("--batch", default=8, show_default=True)
@click.option("--threads", default=8, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(plan: str, images: str, programs: str, batch: int, threads: int, rounds: int) -> None:
    about = read_sidecar(plan)
    paths = find_images(images).records["path"].to_pylist()
    program = f"{programs}/odtk_infer"
    common = ["--batch", str(batch)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        flags = [*common, "--json", f"{folder}/cpp.json", "--dump", f"{folder}/dump"]
        subprocess.run([program, plan, images, *flags], check=True)
        command = f"{sys.executable} -m odtk_ray infer {plan} --local --decoder cpu".split()
        flags = [*common, "--images", images, "--output", f"{folder}/python.json"]
        subprocess.run([*command, *flags], check=True)
        here, there = ((folder / f"{name}.json").read_bytes() for name in ("python", "cpp"))
        row = count_equal(plan, about, batch, paths, folder / "dump")
    print(machine())
    print(
        table(
            [
                ["plan", "images", "batch", "equal inputs", "equal raw outputs", "JSON"],
                [Path(plan).name, str(len(paths)), str(batch), *row,
                 f"equal, {len(here):,} bytes" if here == there else "differs"],
            ]
        )
    )  # fmt: skip
    flags = ["--threads", str(threads), "--bench", str(rounds)]
    subprocess.run([program, plan, images, *common, *flags], check=True)
    rate = python_rate(plan, about, batch, paths, threads, rounds)
    print(f"odtk-ray's Detector from files, {threads} decode threads: {rate:.1f} images/s")


if __name__ == "__main__":
    main()
