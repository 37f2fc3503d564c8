"""What a run says about odd pictures, and `doctor` too where headers show it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from synthetic import picture
from test_infer import infer, run


@pytest.fixture
def folder(tmp_path):
    """A good picture, one to be turned by 180 degrees, and one of half the size that is stated."""
    made = tmp_path / "pictures"
    made.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 3
    picture(1, 80, 60).save(made / "a.jpg")
    picture(2, 80, 60).save(made / "b.jpg", exif=exif)
    picture(3, 40, 30).save(made / "c.png")
    images = [
        {"id": n, "file_name": name, "width": 80, "height": 60}
        for n, name in enumerate(("a.jpg", "b.jpg", "c.png"))
    ]
    document = {"images": images, "categories": [{"id": 1}, {"id": 2}, {"id": 3}]}
    (tmp_path / "a.json").write_text(json.dumps(document), encoding="utf-8")
    return made


TURNED = (
    "image is to be turned by its EXIF orientation, which is ignored: 1 image, "
    'the first is "b.jpg" (orientation 3)\n'
)
SMALLER = (
    'image has another size than the annotation file says: 1 image, the first is "c.png" '
    "(80x60 in the annotation file, 40x30 in the image file)\n"
)


@pytest.mark.parametrize("tile", [(), ("--tile", "50")])
def test_annotated_pictures(runs, checkpoint, folder, tmp_path, tile):
    given = ("--images", folder, "--annotations", tmp_path / "a.json")
    stderr = infer(checkpoint, tmp_path, *given, *tile, "--workers", "2").stderr
    assert f"warning: {TURNED}" in stderr
    assert f"warning: {SMALLER}" in stderr
    applied = infer(checkpoint, tmp_path, *given, *tile, "--exif", "apply").stderr
    assert "EXIF orientation" not in applied
    assert f"warning: {SMALLER}" in applied
    examined = run("doctor", *given, "--samples", tmp_path / "s.png")
    assert f"note: {TURNED}" in examined.stdout
    assert f"wrong: {SMALLER}" in examined.stdout
    assert examined.exit_code == 1


def test_without_annotations_turned_pictures_are_noted(runs, checkpoint, folder, tmp_path):
    stderr = infer(checkpoint, tmp_path, "--images", folder).stderr
    assert f"note: {TURNED}" in stderr
    assert "warning" not in stderr


@pytest.mark.parametrize("tile", [(), ("--tile", "50")])
def test_values_of_12_bits_in_16(runs, checkpoint, tmp_path, tile, monkeypatch):
    monkeypatch.setattr("odtk_ray.images.windows.LARGE", 1000)  # read strip by strip in tiles
    (tmp_path / "pictures").mkdir()
    values = np.arange(6000, dtype=np.uint16).reshape(60, 100)
    for name, data in (("a.tif", values), ("b.tif", values % 4096), ("c.png", values % 4096)):
        Image.fromarray(data).save(tmp_path / "pictures" / name)
    stderr = infer(checkpoint, tmp_path, "--images", tmp_path / "pictures", *tile).stderr
    assert (
        "warning: 16-bit image has values of 12 bits or less: it comes out almost black (or "
        'white): 2 images, the first is "b.tif" (largest value 4095 of 65535)' in stderr
    )
