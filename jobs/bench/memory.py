"""Peak memory and time of planning, merging and evaluating 200,000 images, without any picture.

The annotation file (1 GB, polygons) and the shards are made up; what is measured runs on a real run
folder, each stage in a process of its own, whose peak is what the kernel says of it. The goals:
every stage below 1 GiB, plan and merge together below 2 minutes on 2 cores.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from inputs import write_model
from measure import end_stage, machine, stage, table
from numpy.typing import NDArray
from silent import Silent

from odtk_ray.config import InferConfig
from odtk_ray.shards import cut_shards

if TYPE_CHECKING:
    from odtk_ray.shards.run_folder import RunFolder

SIZES = ((640, 480), (480, 640), (640, 427), (500, 375), (612, 612))
BOXES = 7  # ground truth an image, as COCO has
CLASSES = 80
FILES_A_FOLDER = 10_000


def truth(image: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Make seeded boxes of an image, int64 [n, 4], xywh in pixels, and their classes, int64 [n]."""
    rng = np.random.default_rng(image)
    corners, sides = rng.integers(0, 300, (BOXES, 2)), rng.integers(8, 160, (BOXES, 2))
    return np.concatenate([corners, sides], axis=1), (image + 7 * np.arange(BOXES)) % CLASSES


def write_annotations(folder: Path, images: int, megabytes: int) -> None:
    """Write an annotation file of that size with polygons, and an empty file per image."""
    points = max(3, megabytes * 1_000_000 // (images * BOXES * 16) - 11)
    outline = np.random.default_rng(0).uniform(100, 400, 2 * points).round(2).tolist()
    polygon = json.dumps([outline])  # the same for all boxes: nobody looks into it
    with (folder / "annotations.json").open("w", encoding="utf-8") as stream:
        stream.write('{"info": {"year": 2026}, "annotations": [')
        for image in range(images):
            stream.write(", " if image else "")
            stream.write(", ".join(_annotations(image, polygon)))
        stream.write('], "images": [')
        for image in range(images):
            stream.write(", " if image else "")
            stream.write(json.dumps(image_entry(image)))
            touch(folder / "pictures" / file_name(image))
        categories = [{"id": i + 1, "name": f"class {i}"} for i in range(CLASSES)]
        stream.write(f'], "categories": {json.dumps(categories)}}}')


def _annotations(image: int, polygon: str) -> Iterator[str]:
    boxes, classes = truth(image)
    for i, (box, label) in enumerate(zip(boxes.tolist(), classes.tolist(), strict=True)):
        entry = {
            "id": image * BOXES + i + 1,
            "image_id": image + 1,
            "category_id": label + 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        yield f'{json.dumps(entry)[:-1]}, "segmentation": {polygon}}}'


def image_entry(image: int) -> dict[str, object]:
    """Make an entry of `images` as long as those of COCO."""
    width, height = SIZES[image % len(SIZES)]
    return {
        "id": image + 1,
        "file_name": file_name(image),
        "width": width,
        "height": height,
        "license": 4,
        "date_captured": "2013-11-18 02:53:27",
        "coco_url": f"http://images.cocodataset.org/{file_name(image)}",
        "flickr_url": f"http://farm5.staticflickr.com/4153/{image:010d}_c16c1bb5a5_z.jpg",
    }


def file_name(image: int) -> str:
    """Return the path of an image below `pictures`."""
    return f"{image // FILES_A_FOLDER:03d}/{image:012d}.jpg"


def touch(path: Path) -> None:
    """Make an empty file, and the folder that it lies in."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def settings(folder: Path, output: str = "detections.json") -> InferConfig:
    """Return the run's configuration."""
    return InferConfig(
        str(folder / "model.pth"),
        str(folder / "pictures"),
        str(folder / "annotations.json"),
        output=(str(folder / output),),
        run_dir=str(folder / "run"),
    )


def reopened(folder: Path) -> RunFolder:
    """Reopen the run folder that an earlier stage left."""
    from odtk_ray.shards.run_folder import RunFolder

    run = RunFolder.reopen(settings(folder).run_folder)
    run.take_over()
    return run


def plan(folder: Path) -> None:
    """Do all that a driver does before its first worker starts, except for Ray."""
    from odtk_ray.cluster.local_workers import LocalWorkers
    from odtk_ray.engines.local_gpus import inspect_machine
    from odtk_ray.run.draft_run import draft_run, open_run_model, read_inputs
    from odtk_ray.run.plan_run import make_run_plan
    from odtk_ray.shards.run_folder import RunFolder
    from odtk_ray.worker.fleet import Fleet
    from odtk_ray.worker.warm_up import Needs

    report = Silent()
    inputs = read_inputs(settings(folder), report)
    draft = draft_run(inputs, open_run_model(inputs), report)
    workers = LocalWorkers(Fleet(workers=1, gpus=False, threads=2), Needs())
    RunFolder.create(
        settings(folder).run_folder,
        make_run_plan(draft, workers, report, draft.loader(None, inspect_machine)),
    )


def make_up_shards(folder: Path, detections: int) -> None:
    """Write made-up results instead of workers, some of them near the ground truth."""
    from odtk_ray.records import Detections, ImageResult
    from odtk_ray.shards.shard_file import Receipt, write_shard

    def result(image: int) -> ImageResult:
        boxes, classes = truth(image)
        rng = np.random.default_rng([1, image])
        of = rng.integers(0, BOXES, detections)
        xywh = boxes[of] + rng.normal(0, 10, (detections, 4))
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + np.abs(xywh[:, 2:])], axis=1)
        scores = -np.sort(-rng.uniform(0.05, 1, detections))
        found = (scores.astype(np.float32), xyxy.astype(np.float32), classes[of].astype(np.int32))
        return ImageResult(None, *SIZES[image % len(SIZES)], Detections(*found))

    run = reopened(folder)
    for shard in run.plan.shards:
        rows = [(index, result(index)) for index in shard.rows.tolist()]
        name, sha256 = write_shard(
            run.path, shard.number, "1.1", rows, engine="made up", digest=run.digest
        )
        found = detections * len(rows)
        run.commit(Receipt(shard.number, name, sha256, len(rows), 0, found, "made up"))


def merge(folder: Path) -> None:
    """Merge shard files into `detections.json`."""
    merge_to(folder, "detections.json")


def merge_to(folder: Path, output: str) -> None:
    """Merge shard files into an output of any format."""
    from odtk_ray.run.outputs import write_outputs

    write_outputs(settings(folder, output), reopened(folder))


def evaluate(folder: Path) -> None:
    """Compute the twelve figures."""
    from odtk_ray.evaluation.score_run import score_run

    if (scores := score_run(settings(folder), reopened(folder))) is None:
        raise RuntimeError("the run has no ground truth")
    print("\n".join(scores.analysis.metrics.lines()), file=sys.stderr)


STAGES = ("input", "plan", "make up shards", "merge", "evaluate")


def report(folder: Path, images: int, megabytes: int, detections: int, output: str) -> None:
    """Make the input, measure the stages, print the table."""
    numbers = (f"--images={images}", f"--megabytes={megabytes}", f"--detections={detections}",
               f"--output={output}")  # fmt: skip
    stage(__file__, "--stage=input", f"--folder={folder}", *numbers)
    size = (folder / "annotations.json").stat().st_size / 1e6
    print(machine())
    print(f"{images:,} images, annotations {size:,.0f} MB, {detections} detections each\n")
    rows: list[tuple[str, ...]] = [("stage", "wall", "CPU", "peak memory", "load")]
    for name in STAGES[1:]:
        usage = stage(__file__, f"--stage={name}", f"--folder={folder}", *numbers)
        rows.append((name, *usage.cells()))
    print(table(rows))
    print(f"\n{output}: {(folder / output).stat().st_size / 1e6:,.0f} MB")


@click.command()
@click.option("--images", type=click.IntRange(1), default=200_000, show_default=True)
@click.option("--megabytes", type=click.IntRange(0), default=1000, show_default=True,
              help="Size of the annotation file.")  # fmt: skip
@click.option("--detections", type=click.IntRange(1), default=20, show_default=True,
              help="Detections an image.")  # fmt: skip
@click.option("--output", default="detections.json", show_default=True,
              help="File name of the output, in any format.")  # fmt: skip
@click.option("--shard", "size", type=click.IntRange(1), default=cut_shards.LARGEST, hidden=True)
@click.option("--folder", type=click.Path(path_type=Path), hidden=True)
@click.option("--stage", "name", type=click.Choice(STAGES), hidden=True)
def main(
    images: int,
    megabytes: int,
    detections: int,
    output: str,
    size: int,
    folder: Path,
    name: str | None,
) -> None:
    """Measure plan, merge and evaluate; needs 3 GB below TMPDIR, which it gives back."""
    cut_shards.LARGEST = size
    if name == "input":
        write_annotations(folder, images, megabytes)
        write_model(folder / "model.pth", "ResNet18FPN", CLASSES, channels=16)
    elif name == "make up shards":
        make_up_shards(folder, detections)
    elif name == "merge":
        merge_to(folder, output)
    elif name:
        {"plan": plan, "evaluate": evaluate}[name](folder)
    if name:
        end_stage()
    else:
        with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as made:
            report(Path(made), images, megabytes, detections, output)


if __name__ == "__main__":
    main()
