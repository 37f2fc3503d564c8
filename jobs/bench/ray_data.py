"""`odtk-ray infer` beside a good user's own pipeline, from process start to the files on disk.

    python jobs/bench/ray_data.py --images 500 --images 6000

The pipeline is `ray_data_pipeline.py`: Ray Data reads the pictures, an actor holds torchvision's
RetinaNet, and Parquet is written. Both have a ResNet50 FPN with random weights of a seed, 80
classes, as many candidates an image as a trained one, FP16 on a GPU, one GPU, the same pictures,
batch and sizes. Every run is a process of its own; the ways take turns.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import pyarrow.compute as pc
import pyarrow.parquet as pq
from inputs import write_pictures
from measure import load, machine, table
from PIL import Image

from odtk_ray.engines.local_gpus import list_gpus

PIPELINE = Path(__file__).with_name("ray_data_pipeline.py")
ODTK_RAY = [sys.executable, "-c", "from odtk_ray.cli.process import main; main()"]
CLASSES = 80
PEER = "Ray Data"


def write_models(folder: Path, resize: int) -> None:
    """Write `model.pth` for odtk-ray and `weights.pth` for the pipeline, biased by a picture."""
    write_pictures(folder / "sample", 1)
    (sample,) = (folder / "sample").iterdir()
    write_our_model(folder / "model.pth", sample, resize)
    write_peer_weights(folder / "weights.pth", sample, resize)


def write_our_model(path: Path, sample: Path, resize: int) -> None:
    """Write a seeded model that finds as many candidates in the sample as a trained one."""
    import torch
    from biased import write_biased_model

    from odtk_ray.images.decode_image import load_picture
    from odtk_ray.images.normalise import normalise
    from odtk_ray.images.resize import padded_size
    from odtk_ray.settings import MEAN, STD, Preprocessing

    prep = Preprocessing(resize=resize, max_size=longest(resize))
    pixels = torch.from_numpy(load_picture(sample.read_bytes(), prep).pixels.copy())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    height, width = pixels.shape[:2]
    padded_width, padded_height = padded_size(width, height, prep.stride)
    batch = torch.zeros(1, 3, padded_height, padded_width)
    batch[0, :, :height, :width] = normalise(pixels.permute(2, 0, 1).float(), mean, std)
    write_biased_model(path, batch, CLASSES)


def write_peer_weights(path: Path, sample: Path, resize: int) -> None:
    """Write seeded weights of torchvision's RetinaNet, biased in the same way."""
    import torch
    from torchvision.transforms.functional import to_tensor
    from torchvision_network import bias, make_network

    network = make_network(CLASSES, min_size=resize, max_size=longest(resize))
    bias(network, network.transform([to_tensor(Image.open(sample))])[0].tensors)
    torch.save(network.state_dict(), path)


def longest(resize: int) -> int:
    """Return the limit of the long side, in the proportion of the defaults."""
    return resize * 1333 // 800


def commands(
    folder: Path, batch: int, resize: int, gpu: bool, local: bool
) -> dict[str, tuple[list[str], Path]]:
    """Return the commands to compare, by name, and where each writes its Parquet."""
    shared = ["--batch", str(batch), "--resize", str(resize)]
    peer = [sys.executable, str(PIPELINE), str(folder / "pictures")]
    peer += [str(folder / "peer"), "--weights", str(folder / "weights.pth"), *shared]
    found = {PEER: ([*peer, "--gpus", str(int(gpu))], folder / "peer")}
    output = folder / "detections.parquet"
    ours = [*ODTK_RAY, "infer", str(folder / "model.pth"), "--images", str(folder / "pictures")]
    ours += [*shared, "--max-size", str(longest(resize)), "--output", str(output)]
    found["odtk-ray infer"] = ([*ours, "--workers", "1"], output)
    if local:
        found["odtk-ray infer --local"] = ([*ours, "--local"], output)
    return found


def has_local() -> bool:
    """Return whether this version of odtk-ray has `--local`."""
    command = [*ODTK_RAY, "infer", "--help"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "--local" in said


def time_command(command: list[str], output: Path, images: int) -> float:
    """Measure the seconds from a process' start to its end; check that no picture is missing."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise ChildProcessError(f"{' '.join(command)}: {done.stderr}")
    found = pq.read_table(output)
    name = "path" if "path" in found.column_names else "image_id"
    if (seen := pc.count_distinct(found[name]).as_py()) != images:
        raise RuntimeError(f"{' '.join(command)}: {seen} of {images} images are in the output")
    shutil.rmtree(output) if output.is_dir() else output.unlink()
    return seconds


def compare(
    ways: dict[str, tuple[list[str], Path]], images: int, runs: int
) -> list[tuple[str, ...]]:
    """Time all ways in turn; return the rows of the table."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, (command, output) in ways.items():
            times[name].append(time_command(command, output, images))
    peer = statistics.median(times[PEER])
    rows: list[tuple[str, ...]] = []
    for name, seconds in times.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f} s"
        rate = f"{images / median:.1f}"
        rows.append((f"{images:,}", name, f"{median:.1f} s", spread, rate, f"{median / peer:.2f}"))
    return rows


@click.command(help=__doc__.splitlines()[0])
@click.option("--images", type=click.IntRange(1), multiple=True, default=(500, 6000),
              show_default=True, help="May be repeated.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--batch", type=click.IntRange(1), help="[default: 32 on a GPU, 2 elsewhere]")
@click.option("--resize", type=click.IntRange(32), default=800, show_default=True)
@click.option("--local/--no-local", default=None, help="[default: if odtk-ray has it]")
def main(
    images: Sequence[int], runs: int, batch: int | None, resize: int, local: bool | None
) -> None:
    gpu = bool(list_gpus())
    batch = batch or (32 if gpu else 2)
    print(f"{machine()}; {'a GPU' if gpu else 'CPUs'}, batch {batch}, {runs} runs", flush=True)
    rows: list[tuple[str, ...]] = [("images", "", "in all", "all runs", "img/s in all", "ratio")]
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as base:
        folder = Path(base)
        write_models(folder, resize)
        ways = commands(folder, batch, resize, gpu, has_local() if local is None else local)
        for count in images:
            size = write_pictures(folder / "pictures", count)
            print(f"{count:,} JPEGs of {size / 1e3:.0f} kB; load {load():.1f}", flush=True)
            rows += compare(ways, count, runs)
            shutil.rmtree(folder / "pictures")
    print(f"\n{table(rows)}\n\nload at the end {load():.1f}")


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
