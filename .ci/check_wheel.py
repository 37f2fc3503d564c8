"""Uses the installed wheel as its users will: `.ci/run` calls it with the environment's Python.

Usage: python check_wheel.py WHEEL, in an empty folder that is not the checkout.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import cuda_ops
import odtk_ray

# Bytes that the wheel's files may have unpacked, without the model and the photographs. It notices
# what does not belong to the product, such as training.
MOST_CODE = 1_800_000
DATA = (".pth", ".jpg")


def check_files(wheel: Path) -> None:
    """Check that the wheel holds exactly both packages' files, and is what Python runs.

    The C++ code is built from a checkout or from the source distribution.
    """
    checkout = Path(__file__).resolve().parents[1]
    expected = {
        path.relative_to(checkout).as_posix()
        for package in ("odtk_ray", "cuda_ops")
        for path in (checkout / package).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not any(path.is_relative_to(checkout / "cuda_ops" / f) for f in ("cpp", "deepstream"))
    }
    sizes = {entry.filename: entry.file_size for entry in zipfile.ZipFile(wheel).infolist()}
    packed = {name for name in sizes if not name.split("/")[0].endswith(".dist-info")}
    require("odtk_ray/py.typed" in packed, f"{wheel.name} has no py.typed")
    require(not expected - packed, f"not in {wheel.name}: {sorted(expected - packed)}")
    require(not packed - expected, f"odd files in {wheel.name}: {sorted(packed - expected)}")
    code = sum(sizes[name] for name in packed if not name.endswith(DATA))
    require(
        code < MOST_CODE, f"{wheel.name} has {code:,} bytes of code, {MOST_CODE:,} are too many"
    )
    for package in (odtk_ray, cuda_ops):
        where = Path(str(package.__file__))
        require(where.is_relative_to(sys.prefix), f"{where} does not come from the wheel")
    print(
        f"{wheel.name}: {len(packed)} files, all of the checkout's, {code:,} bytes of code; "
        f"imported from {sys.prefix}"
    )


def check_demo(folder: Path) -> None:
    """Check that the demonstration works as it is printed, from the wheel alone."""
    printed = odtk_ray_command("demo", str(folder)).splitlines()
    (line,) = (line for line in printed if line.strip().startswith("odtk-ray "))
    odtk_ray_command(*shlex.split(line)[1:])
    check_detections(folder / "detections.json")
    for name in ("OSBS_029.jpg", "SOAP_061.jpg"):
        plain, drawn = folder / "photographs" / name, folder / "drawn" / name
        require(drawn.read_bytes() != plain.read_bytes(), f"nothing is drawn in {drawn}")


def check_detections(path: Path) -> None:
    """Check that the file has plausible detections of trees in both photographs."""
    content = json.loads(path.read_text(encoding="utf-8"))
    images = {image["id"] for image in content["images"]}
    require(len(images) == 2, f"images: {content['images']}")
    found = content["annotations"]
    for entry in found:
        known = entry["image_id"] in images and entry["category_id"] == 1
        finite = len(entry["bbox"]) == 4 and all(map(math.isfinite, entry["bbox"]))
        require(known and finite and 0.05 < entry["score"] <= 1, f"detection {entry}")
    for image in images:
        scores = [entry["score"] for entry in found if entry["image_id"] == image]
        require(0 < len(scores) <= 100, f"{len(scores)} detections in image {image}")
        print(f"image {image}: {len(scores)} detections, the best {max(scores):.3f}")


def odtk_ray_command(*arguments: str) -> str:
    """Run the installed console script; return what it wrote to standard output."""
    print("$ odtk-ray", *arguments, flush=True)
    program = Path(sys.executable).with_name("odtk-ray")
    run = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    print(run.stdout, flush=True)
    require(run.returncode == 0, f"exit code {run.returncode}")
    return run.stdout


def require(condition: bool, message: str) -> None:
    """End the check with the message unless the condition holds."""
    if not condition:
        sys.exit(f"error: {message}")


if __name__ == "__main__":
    check_files(Path(sys.argv[1]))
    odtk_ray_command("--help")
    check_demo(Path("two trees"))
