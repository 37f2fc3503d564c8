"""Uses the installed wheel as its users will: `.ci/run` calls it with the environment's Python.

Usage: python check_wheel.py WHEEL, in an empty folder that is not the checkout.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import cuda_ops
import odtk_ray
from odtk_ray.model.checkpoint import save_checkpoint
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES


def check_files(wheel: Path) -> None:
    """The wheel holds both packages' files, each of them and no other, and is what Python runs."""
    checkout = Path(__file__).resolve().parents[1]
    expected = {
        path.relative_to(checkout).as_posix()
        for package in ("odtk_ray", "cuda_ops")
        for path in (checkout / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    packed = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    require("odtk_ray/py.typed" in packed, f"{wheel.name} has no py.typed")
    require(not expected - packed, f"not in {wheel.name}: {sorted(expected - packed)}")
    require(not packed - expected, f"odd files in {wheel.name}: {sorted(packed - expected)}")
    for package in (odtk_ray, cuda_ops):
        where = Path(str(package.__file__))
        require(where.is_relative_to(sys.prefix), f"{where} does not come from the wheel")
    print(f"{wheel.name}: {len(packed)} files, all of the checkout's; imported from {sys.prefix}")


def make_inputs() -> None:
    """One picture, and a checkpoint whose random head scores high enough for detections."""
    rng = np.random.default_rng(0)
    Path("images").mkdir()
    pixels = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("images/noise.png")
    torch.manual_seed(0)
    model = RetinaNet(["ResNet18FPN"], classes=2, channels=8)
    save_checkpoint("model.pth", model, ratios=DEFAULT_RATIOS, scales=DEFAULT_SCALES)


def check_output(path: Path) -> None:
    """The file says of the picture what a detector may say."""
    content = json.loads(path.read_text())
    (image,) = content["images"]
    require(image["file_name"] == "noise.png", f"images: {image}")
    found = content["annotations"]
    require(0 < len(found) <= 100, f"{len(found)} detections")
    for entry in found:
        known = entry["image_id"] == image["id"] and entry["category_id"] in (0, 1)
        finite = len(entry["bbox"]) == 4 and all(map(math.isfinite, entry["bbox"]))
        require(known and finite and 0.05 < entry["score"] <= 1, f"detection {entry}")
    print(f"{len(found)} detections, the best {max(entry['score'] for entry in found):.3f}")


def odtk_ray_command(*arguments: str) -> None:
    """Runs the installed console script."""
    print("$ odtk-ray", *arguments, flush=True)
    subprocess.run([Path(sys.executable).with_name("odtk-ray"), *arguments], check=True)


def require(condition: bool, message: str) -> None:
    """Ends the check with the message unless the condition holds."""
    if not condition:
        sys.exit(f"error: {message}")


if __name__ == "__main__":
    check_files(Path(sys.argv[1]))
    odtk_ray_command("--help")
    make_inputs()
    odtk_ray_command("infer", "model.pth", "--images", "images", "--output", "out.json")
    check_output(Path("out.json"))
