"""`odtk-ray infer` on the GPUs of one host from JPEG files to the JSON, beside ODTK's scheme.

Pictures are seeded and all different: (a) all 640x480, (b) the 100 sizes of the COCO API's example
file. Three ways of each: the command line as users run it (start of Ray and of the worker in it);
the same in this process with an engine that notes when the GPU works, which gives the rate from the
first read to the JSON and the GPU's idle share; ODTK's scheme on a part of the files. With `--plan`
a TensorRT plan takes the model's place, and torch is not needed.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import numpy as np
from measure import machine, table
from PIL import Image
from traced_run import PREP, Setting, shapes_of, traced_run

SIZES_FILE = Path(__file__).parents[2] / "tests/datasets/cocoapi/instances_val2014_100.json.gz"


def write_picture(path: str, seed: int, width: int, height: int) -> int:
    """Write a seeded JPEG as large as a photograph's: colours at three scales, and noise."""
    rng = np.random.default_rng(seed)
    canvas = rng.normal(0, 4, (height, width, 1)).astype(np.float32)
    for cell, weight in ((160, 0.6), (40, 0.3), (10, 0.1)):
        grid = rng.integers(0, 256, (height // cell + 1, width // cell + 1, 3), dtype=np.uint8)
        image = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        canvas = canvas + weight * np.asarray(image, np.float32)
    Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).save(path, "JPEG", quality=88)
    return os.path.getsize(path)


def write_pictures(folder: Path, sizes: Sequence[tuple[int, int]], count: int) -> int:
    """Write `count` pictures of the sizes in turn; return their mean size in bytes."""
    folder.mkdir()
    paths = [str(folder / f"{i:05d}.jpg") for i in range(count)]
    columns = zip(*itertools.islice(itertools.cycle(sizes), count), strict=True)
    with ProcessPoolExecutor() as pool:
        nbytes = pool.map(write_picture, paths, range(count), *columns, chunksize=50)
        return sum(nbytes) // count


def coco_sizes() -> list[tuple[int, int]]:
    """Return (width, height) of the COCO API's 100 example images."""
    images = json.loads(gzip.decompress(SIZES_FILE.read_bytes()))["images"]
    return [(image["width"], image["height"]) for image in images]


def medians(name: str, runs: Sequence[tuple[float, ...]]) -> tuple[str, ...]:
    """Format a row of the table: each figure's median and range."""
    return (
        name,
        *(
            f"{statistics.median(column):.1f} ({min(column):.1f} to {max(column):.1f})"
            for column in zip(*runs, strict=True)
        ),
    )


def command_line(folder: Path, name: str, model: str, setting: Setting) -> tuple[float, str]:
    """Measure the seconds of the command from start to end; return what it prints at the end."""
    command = [sys.executable, "-m", "odtk_ray", "infer", model]
    command += ["--images", str(folder / name), "--workers", str(setting.gpus)]
    command += ["--batch", str(setting.batch * setting.gpus)]
    command += ["--threads-per-worker", str(setting.threads)]
    command += ["--output", str(folder / f"{name}.cli.json")]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    started = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=300
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    print(done.stderr)
    return seconds, done.stdout.splitlines()[0]


def odtk_run(folder: Path, name: str, count: int, batch: int) -> float:
    """Measure images per second of ODTK's scheme from files to JSON."""
    from odtk_network import OdtkNetwork, detect_files

    from odtk_ray.model.checkpoint import load_checkpoint

    scheme = OdtkNetwork(load_checkpoint(folder / "model.pth"))
    paths = sorted((folder / name).iterdir())
    detect_files(scheme, paths[: 2 * batch], batch, PREP.resize, PREP.max_size)
    started = time.perf_counter()
    rows = detect_files(scheme, paths[:count], batch, PREP.resize, PREP.max_size)
    (folder / "odtk.json").write_text(json.dumps({"annotations": rows}), encoding="utf-8")
    return count / (time.perf_counter() - started)


def write_model(folder: Path) -> float:
    """Write the biased model, with the activations that the pictures of (a) give it."""
    import torch
    from biased import write_biased_model

    from odtk_ray.images.decode_image import load_picture
    from odtk_ray.images.normalise import normalise
    from odtk_ray.settings import MEAN, STD

    batch = torch.zeros(2, 3, 896, 1152, device="cuda")
    for slot, path in zip(batch, sorted((folder / "a").iterdir()), strict=False):
        pixels = torch.from_numpy(load_picture(path.read_bytes(), PREP).pixels.copy()).cuda()
        mean, std = (torch.tensor(v, device="cuda").view(3, 1, 1) for v in (MEAN, STD))
        values = normalise(pixels.permute(2, 0, 1).float(), mean, std)
        values = values[:, : slot.shape[1], : slot.shape[2]]  # a tall picture is cut
        slot[:, : values.shape[1], : values.shape[2]] = values
    candidates = write_biased_model(folder / "model.pth", batch)
    torch.cuda.empty_cache()
    return candidates


@click.command(help=__doc__.splitlines()[0])
@click.option("--images", type=click.IntRange(64), default=5000, show_default=True)
@click.option("--odtk-images", type=click.IntRange(16), default=400, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=8, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True)
@click.option("--gpus", type=click.IntRange(1), default=1, show_default=True)
@click.option("--plan", type=click.Path(exists=True, dir_okay=False), help="Instead of PyTorch.")
def main(
    images: int,
    odtk_images: int,
    batch: int,
    threads: int,
    runs: int,
    gpus: int,
    plan: str | None,
) -> None:
    print(machine())
    setting = Setting(batch, threads, gpus)
    sets = {"a": [(640, 480)], "b": coco_sizes()}
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as base:
        folder = Path(base)
        for name, sizes in sets.items():
            size = write_pictures(folder / name, sizes, images)
            print(
                f"({name}) {images:,} JPEGs of {size / 1e3:.0f} kB, {len(shapes_of(sizes))} shapes"
            )
        if plan is None:
            print(f"{write_model(folder):,.0f} candidates an image", flush=True)
        model = plan or str(folder / "model.pth")
        results: dict[str, list[tuple[float, ...]]] = {name: [] for name in sets}
        for _ in range(runs):
            for name, sizes in sets.items():
                results[name].append(traced_run(folder, name, model, sizes, setting).row())
        head = (
            "median of all runs",
            "img/s",
            "GPU idle %",
            "GPU s",
            "slots filled %",
            "first batch s",
        )
        print(table([head, *(medians(name, rows) for name, rows in results.items())]), flush=True)
        for name, kind in (("a", "cold"), ("a", "warm")):
            seconds, line = command_line(folder, name, model, setting)
            print(
                f"({name}) odtk-ray infer, caches {kind}: {seconds:.1f} s in all; {line}",
                flush=True,
            )
        for size in (8, batch) if plan is None and gpus == 1 else ():
            rate = odtk_run(folder, "a", odtk_images, size)
            print(
                f"(a) ODTK's scheme, batch {size}, {odtk_images} images: {rate:.0f} img/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
