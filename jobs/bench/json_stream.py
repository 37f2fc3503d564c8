"""Time of one pass over a COCO file: for the images, for the ground truth, for the check of all.

The file is made up, with as much text an annotation as COCO's own; its images are empty files.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from measure import load, machine, table
from memory import BOXES, CLASSES, write_annotations

from odtk_ray.checks.annotations import examine
from odtk_ray.datasets.coco import read_coco, read_truth
from odtk_ray.datasets.json_stream import scan

_IMAGE_BYTES = 4_000  # of an image with its annotations, as in COCO's instances_train2017.json


def parse(path: str) -> None:
    """Parse every value of the file, and drop it."""
    with open(path, "rb") as stream:
        for _ in scan(stream, None):
            pass


def passes(folder: Path, images: int) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    path, pictures = str(folder / "annotations.json"), str(folder / "pictures")
    ids = {str(i + 1): i for i in range(images)}
    classes = {str(i + 1): i for i in range(CLASSES)}
    truth = functools.partial(read_truth, path, ids, classes)
    return {
        "scan, all values": functools.partial(parse, path),
        "read_coco": functools.partial(read_coco, path, pictures),
        "read_truth": functools.partial(truth, rotated=False),
        "read_truth, rotated": functools.partial(truth, rotated=True),
        "examine": functools.partial(examine, path, pictures, rotated=False),
    }


@click.command(help=__doc__.splitlines()[0])
@click.option("--megabytes", type=click.IntRange(1), default=60, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
def main(megabytes: int, runs: int) -> None:
    images = max(1, megabytes * 1_000_000 // _IMAGE_BYTES)
    rows: list[tuple[str, ...]] = [("pass", "median", "slowest", "CPU", "load")]
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as name:
        write_annotations(Path(name), images, megabytes)
        size = (Path(name) / "annotations.json").stat().st_size / 1e6
        print(machine())
        print(f"{size:,.0f} MB, {images:,} images, {BOXES * images:,} annotations, {runs} runs\n")
        for what, call in passes(Path(name), images).items():
            wall, cpu = zip(*(measured(call) for _ in range(runs)), strict=True)
            cells = (statistics.median(wall), max(wall), statistics.median(cpu))
            rows.append((what, *(f"{seconds:.2f} s" for seconds in cells), f"{load():.1f}"))
    print(table(rows))


def measured(call: Callable[[], object]) -> tuple[float, float]:
    """Measure the wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
