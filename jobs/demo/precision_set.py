r"""Makes the precision set: tiles of all demonstration photographs in 8 flips and rotations.

    python jobs/demo/precision_set.py --data demo_output --output precision_set
    odtk-ray infer model.pth --images precision_set/tiles --annotations precision_set/tiles.json \
        --resize 800 --output a.results.json

It is for comparing two ways to run the same model, where only differences count: photographs that
the model was trained on are in it. Compare with odtk-ray compare --group-by tile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from run import STEMS
from training.photographs import Photograph, read_photographs
from training.tiles import turn

SIDE = 400  # pixels, as the two smaller photographs have


def places(length: int, side: int, rng: np.random.Generator) -> list[int]:
    """Return where tiles begin along a photograph, so that they cover all of it.

    The first and the last touch the edges; those between them are moved at random, by at most half
    of what neighbours overlap.

    Args:
        length: of the photograph in pixels, at least `side`.
        side: of a tile in pixels.
        rng: one number is drawn for each tile between the first and the last.
    """
    count = -(-length // side)
    if count == 1:
        return [0]
    step = (length - side) / (count - 1)
    inner = step * np.arange(1, count - 1) + rng.uniform(-0.5, 0.5, count - 2) * (side - step)
    return [0, *np.rint(inner).astype(int).tolist(), length - side]


def tiles(photographs: list[Photograph], rng: np.random.Generator) -> Iterator[Photograph]:
    """Yield the tiles of all photographs, row by row."""
    for photograph in photographs:
        width, height = photograph.image.size
        for y in places(height, SIDE, rng):
            for x in places(width, SIDE, rng):
                yield photograph.cut((x, y, x + SIDE, y + SIDE))


def write(photographs: list[Photograph], folder: Path, seed: int) -> dict[str, Any]:
    """Write the pictures; return the COCO file's content, in which `tile` numbers the tiles."""
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, tile in enumerate(tiles(photographs, np.random.default_rng(seed))):
        for turned in range(8):
            pixels, boxes = turn(np.asarray(tile.image), tile.boxes, turned)
            name, image_id = f"{number:03d}_{turned}.png", len(images) + 1
            Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name, compress_level=1)
            height, width = pixels.shape[:2]
            size = {"width": width, "height": height}
            images.append({"id": image_id, "file_name": name, **size, "tile": number})
            for x1, y1, x2, y2 in boxes.tolist():
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                    }
                )
    return {
        "images": images,
        "categories": [{"id": 1, "name": "tree"}],
        "annotations": annotations,
    }


@click.command(help=__doc__.splitlines()[0])
@click.option("--data", type=click.Path(exists=True, file_okay=False), required=True)
@click.option("--output", type=click.Path(file_okay=False), required=True)
@click.option("--seed", default=0, show_default=True)
def main(data: str, output: str, seed: int) -> None:
    names = [f"{stem}.png" for stem in STEMS]
    photographs = read_photographs(Path(data) / "trees.json", Path(data) / "photos", names)
    content = write(photographs, Path(output) / "tiles", seed)
    (Path(output) / "tiles.json").write_text(json.dumps(content), encoding="utf-8")
    click.echo(f"{len(content['images'])} pictures with {len(content['annotations'])} boxes")


if __name__ == "__main__":
    main()
