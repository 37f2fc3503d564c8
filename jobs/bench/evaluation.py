"""Time and memory of `odtk-ray evaluate` beside pycocotools and faster-coco-eval, files to figures.

Truth and detections are made up: boxes of 80 classes, two detections of five near a box, the others
anywhere. Every way is a process of its own, which reads both files; the figures have to be equal.
With --report a report is written too; its pictures are one file under as many names.
"""

from __future__ import annotations

import json
import multiprocessing
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
from measure import load, machine, table
from numpy.typing import NDArray
from PIL import Image

_CLASSES, _WIDTH, _HEIGHT = 80, 640, 480
_LINKS = 50_000  # names of one file; ext4 allows 65,000
_ODTK_RAY = """import sys
from odtk_ray.cli.process import main
sys.argv = ["odtk-ray", "evaluate", sys.argv[2], "--annotations", sys.argv[1], *sys.argv[3:]]
main()"""
_PEER = """import sys
{imports}
truth = COCO(sys.argv[1])
coco = Evaluator(truth, truth.loadRes(sys.argv[2]), "bbox")
coco.evaluate(), coco.accumulate(), coco.summarize()
print(f"AP @[ IoU=0.50:0.95 ] = {{coco.stats[0]:.3f}}")"""
WAYS = {
    "odtk-ray evaluate": _ODTK_RAY,
    "faster-coco-eval": _PEER.format(
        imports="from faster_coco_eval import COCO, COCOeval_faster as Evaluator"
    ),
    "pycocotools": _PEER.format(
        imports="from pycocotools.coco import COCO\n"
        "from pycocotools.cocoeval import COCOeval as Evaluator"
    ),
}

Floats = NDArray[np.float64]


def boxes_of(rng: np.random.Generator, count: int) -> Floats:
    """Draw boxes of 8 to 300 pixels, xywh, that begin in the picture."""
    sides = np.exp(rng.uniform(np.log(8), np.log(300), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * [_WIDTH, _HEIGHT]
    boxes: Floats = np.hstack([corner, sides]).round(2)
    return boxes


def write_files(folder: Path, images: int, boxes: int, detections: int) -> tuple[str, str]:
    """Write an annotation file and COCO results, and return their paths."""
    rng = np.random.default_rng(0)
    owner, category = rng.integers(0, images, boxes), rng.integers(0, _CLASSES, boxes)
    wanted = boxes_of(rng, boxes)
    near = detections * 2 // 5
    source = rng.integers(0, boxes, near)
    shift = rng.normal(0, 0.08, (near, 4)) * np.tile(wanted[source, 2:], 2)
    found = np.vstack([(wanted[source] + shift).round(2), boxes_of(rng, detections - near)])
    found[:, 2:] = np.maximum(found[:, 2:], 1)
    image = np.concatenate([owner[source], rng.integers(0, images, detections - near)])
    kind = np.concatenate([category[source], rng.integers(0, _CLASSES, detections - near)])
    score = np.concatenate([rng.beta(2, 2, near), rng.beta(1, 6, detections - near)])
    order = np.lexsort((-score, image))
    paths = str(folder / "truth.json"), str(folder / "found.json")
    with open(paths[0], "w", encoding="utf-8") as stream:
        entries = (
            f'{{"id": {i}, "file_name": "{i:012d}.jpg", "width": {_WIDTH}, "height": {_HEIGHT}}}'
            for i in range(images)
        )
        stream.write(f'{{"info": {{}}, "images": [{", ".join(entries)}],\n"categories": ')
        stream.write(json.dumps([{"id": c, "name": f"class {c}"} for c in range(_CLASSES)]))
        columns = (np.arange(1, boxes + 1), owner, category, wanted)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        entries = (
            f'{{"id": {n}, "image_id": {i}, "category_id": {c}, "bbox": {box}, '
            f'"area": {box[2] * box[3]:.3f}, "iscrowd": 0}}'
            for n, i, c, box in rows
        )
        stream.write(f',\n"annotations": [{", ".join(entries)}]}}')
    with open(paths[1], "w", encoding="utf-8") as stream:
        columns = (image, kind, found, score.astype(np.float32).astype(float))
        rows = zip(*(column[order].tolist() for column in columns), strict=True)
        entries = (
            f'{{"image_id": {i}, "category_id": {c}, "bbox": {box}, "score": {s}}}'
            for i, c, box, s in rows
        )
        stream.write(f"[{', '.join(entries)}]")
    return paths


def write_pictures(folder: Path, images: int) -> list[str]:
    """Write pictures of noise, and return the options for a report."""
    pixels = np.random.default_rng(0).integers(0, 256, (_HEIGHT // 8, _WIDTH // 8, 3), np.uint8)
    pictures = folder / "pictures"
    pictures.mkdir()
    picture = Image.fromarray(pixels).resize((_WIDTH, _HEIGHT))
    for i in range(images):
        path = pictures / f"{i:012d}.jpg"
        if i % _LINKS == 0:
            picture.save(first := path)
        else:
            os.link(first, path)
    return ["--images", str(pictures), "--report", str(folder / "report.html")]


def measured(code: str, paths: Sequence[str]) -> tuple[float, float, float, str]:
    """Run a way; return its wall and CPU seconds, the most memory in MiB, and the AP it printed.

    Raises:
        RuntimeError: it failed, such as for a package that is not installed.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *paths], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = process.stdout.read().decode() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(text.strip().rpartition("\n")[2])
    figure = next(line for line in text.splitlines() if "AP" in line and "0.50:0.95" in line)
    wall, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return wall, cpu, usage.ru_maxrss / 1024, figure.split("=")[-1].strip()


@click.command(help=__doc__.splitlines()[0])
@click.option("--images", type=click.IntRange(1), default=5_000, show_default=True)
@click.option("--boxes", type=click.IntRange(1), default=36_000, show_default=True)
@click.option("--detections", type=click.IntRange(5), default=250_000, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--alone", is_flag=True, help="Only odtk-ray: the others need hours for millions.")
@click.option("--report", is_flag=True, help="With a report of odtk-ray.")
def main(images: int, boxes: int, detections: int, runs: int, alone: bool, report: bool) -> None:
    rows: list[tuple[str, ...]] = [("way", "median", "slowest", "CPU", "memory", "AP", "load")]
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as name:
        # In a process of its own: the memory of a process counts for those that it starts.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as writer:
            paths = writer.submit(write_files, Path(name), images, boxes, detections).result()
        print(machine())
        print(f"{images:,} images, {boxes:,} boxes, {detections:,} detections, {runs} runs\n")
        ways = {way: (code, [*paths]) for way, code in list(WAYS.items())[: 1 if alone else None]}
        if report:
            more = write_pictures(Path(name), images)
            ways["odtk-ray evaluate --report"] = (_ODTK_RAY, [*paths, *more])
        for way, (code, arguments) in ways.items():
            try:
                results = [measured(code, arguments) for _ in range(runs)]
            except RuntimeError as error:
                rows.append((way, str(error), "", "", "", "", ""))
                continue
            seconds, cpu, memory, figures = zip(*results, strict=True)
            times = (statistics.median(seconds), max(seconds), statistics.median(cpu))
            cells = [f"{value:.1f} s" for value in times]
            rows.append((way, *cells, f"{max(memory):,.0f} MiB", figures[0], f"{load():.1f}"))
    print(table(rows))


if __name__ == "__main__":
    main()
