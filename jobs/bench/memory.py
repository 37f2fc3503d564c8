"""Peak memory and time of planning, merging and evaluating 200,000 images, without any picture.

The annotation file (1 GB, polygons) and the shards are made up; what is measured runs on a real run
folder, each stage in a process of its own, whose peak is what the kernel says of it. The goals:
every stage below 1 GiB, plan and merge together below 2 minutes on 2 cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
from measure import load, machine, table

SIZES = ((640, 480), (480, 640), (640, 427), (500, 375), (612, 612))
BOXES = 7  # ground truth an image, as COCO has
CLASSES = 80
FILES_A_FOLDER = 10_000


def write_annotations(folder: Path, images: int, megabytes: int) -> None:
    """An annotation file of that size with polygons, and an empty file for each image."""
    rng = np.random.default_rng(0)
    points = max(3, megabytes * 1_000_000 // (images * BOXES * 16) - 10)
    with (folder / "annotations.json").open("w", encoding="utf-8") as stream:
        stream.write('{"info": {"year": 2026}, "annotations": [')
        for image in range(images):
            stream.write(", " if image else "")
            stream.write(", ".join(_annotations(rng, image, points)))
        stream.write('], "images": [')
        for image in range(images):
            stream.write(", " if image else "")
            stream.write(json.dumps(_image(image)))
            _touch(folder / "pictures" / _name(image))
        categories = [{"id": i + 1, "name": f"class {i}"} for i in range(CLASSES)]
        stream.write(f'], "categories": {json.dumps(categories)}}}')


def _annotations(rng: np.random.Generator, image: int, points: int) -> Iterator[str]:
    corners = rng.integers(0, 300, (BOXES, 2)).tolist()
    sides = rng.integers(8, 160, (BOXES, 2)).tolist()
    outline = rng.uniform(0, 400, 2 * points).round(2).tolist()  # one for all boxes: it is skipped
    for i, ((x, y), (w, h)) in enumerate(zip(corners, sides, strict=True)):
        entry = {
            "id": image * BOXES + i + 1,
            "image_id": image + 1,
            "category_id": (image + 7 * i) % CLASSES + 1,
            "bbox": [x, y, w, h],
            "area": w * h,
            "iscrowd": 0,
            "segmentation": [outline],
        }
        yield json.dumps(entry)


def _image(image: int) -> dict[str, object]:
    """An entry of `images`, as long as those of COCO."""
    width, height = SIZES[image % len(SIZES)]
    return {
        "id": image + 1,
        "file_name": _name(image),
        "width": width,
        "height": height,
        "license": 4,
        "date_captured": "2013-11-18 02:53:27",
        "coco_url": f"http://images.cocodataset.org/{_name(image)}",
        "flickr_url": f"http://farm5.staticflickr.com/4153/{image:010d}_c16c1bb5a5_z.jpg",
    }


def _name(image: int) -> str:
    return f"{image // FILES_A_FOLDER:03d}/{image:012d}.jpg"


def _touch(path: Path) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def write_model(folder: Path) -> None:
    """A checkpoint, since planning reads one."""
    from odtk_ray.model.checkpoint import save_checkpoint
    from odtk_ray.model.retinanet import RetinaNet
    from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

    model = RetinaNet(["ResNet18FPN"], CLASSES, channels=16)
    save_checkpoint(folder / "model.pth", model, ratios=DEFAULT_RATIOS, scales=DEFAULT_SCALES)


def settings(folder: Path) -> object:
    """The run's configuration."""
    from odtk_ray.config import InferConfig

    return InferConfig(
        str(folder / "model.pth"),
        str(folder / "pictures"),
        str(folder / "annotations.json"),
        outputs=(str(folder / "detections.json"),),
    )
