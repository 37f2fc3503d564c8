"""The precision set: every pixel covered, boxes on what they show, the same for the same seed."""

import json
from itertools import pairwise

import numpy as np
import precision_set as module
import pytest
from click.testing import CliRunner
from PIL import Image

SIDE = 40
SIZES = [(110, 70), (40, 40)]


@pytest.fixture
def job(monkeypatch):
    monkeypatch.setattr(module, "SIDE", SIDE)
    monkeypatch.setattr(module, "STEMS", ("a", "b"))
    return module


@pytest.fixture
def data(tmp_path):
    """Two pictures with painted boxes, and a COCO file."""
    (tmp_path / "photos").mkdir()
    images, annotations = [], []
    for number, (name, (width, height)) in enumerate(zip("ab", SIZES, strict=True)):
        pixels = np.zeros((height, width, 3), np.uint8)
        for x, y in ((4, 5), (30, 20), (30, 31)):
            pixels[y : y + 8, x : x + 6] = 255
            entry = {"image_id": number, "category_id": 1, "bbox": [x, y, 6, 8]}
            annotations.append(entry)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
        images.append({"id": number, "file_name": f"{name}.png"})
    content = {"images": images, "annotations": annotations}
    (tmp_path / "trees.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def make(job, data, output, seed=0):
    arguments = ["--data", str(data), "--output", str(output), "--seed", str(seed)]
    result = CliRunner().invoke(job.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads((output / "tiles.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("length", [40, 41, 79, 80, 81, 110, 400])
def test_places_cover_everything_and_stay_inside(job, length):
    for seed in range(10):
        starts = job.places(length, SIDE, np.random.default_rng(seed))
        assert len(starts) == -(-length // SIDE)
        assert (starts[0], starts[-1]) == (0, length - SIDE)
        assert all(0 <= b - a <= SIDE for a, b in pairwise(starts))


def test_boxes_lie_on_what_they_show(job, data, tmp_path):
    content = make(job, data, tmp_path / "out")
    # 3 x 2 tiles and 1, each in 8 flips and rotations
    assert len(content["images"]) == 8 * (3 * 2 + 1)
    assert content["categories"] == [{"id": 1, "name": "tree"}]
    assert len({a["id"] for a in content["annotations"]}) == len(content["annotations"]) > 8 * 6
    for image in content["images"]:
        pixels = np.asarray(Image.open(tmp_path / "out" / "tiles" / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3) == (SIDE, SIDE, 3)
        covered = np.zeros((SIDE, SIDE), bool)
        for annotation in content["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, width, height = map(int, annotation["bbox"])
                assert pixels[y : y + height, x : x + width].all()
                assert annotation["area"] == width * height
                covered[y : y + height, x : x + width] = True
        # What is left is a part of a box too small to count: under 30% of 48 pixels
        assert np.count_nonzero(pixels[..., 0].astype(bool) & ~covered) < 2 * 15


def test_the_eight_pictures_of_a_tile_are_different_and_share_its_number(job, data, tmp_path):
    content = make(job, data, tmp_path / "out")
    for number in range(7):
        names = [i["file_name"] for i in content["images"] if i["tile"] == number]
        assert len(names) == 8
    pictures = [(tmp_path / "out" / "tiles" / f"000_{k}.png").read_bytes() for k in range(8)]
    assert len(set(pictures)) == 8


def test_the_seed_decides(job, data, tmp_path):
    first, same, other = (
        make(job, data, tmp_path / name, seed) for name, seed in (("1", 1), ("2", 1), ("3", 2))
    )
    assert first == same
    files = sorted(path.name for path in (tmp_path / "1" / "tiles").iterdir())
    assert len(files) == 56
    for name in files:
        a, b = ((tmp_path / folder / "tiles" / name).read_bytes() for folder in "12")
        assert a == b
    assert first != other
