"""Detections that are cut out of their pictures."""

import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic import make_run, picture

from odtk_ray.pictures.crops import crop_name, crop_window
from odtk_ray.pictures.draw_shard import PicturesWanted, draw_shard
from odtk_ray.records import Detections, ImageResult
from odtk_ray.settings import Preprocessing

SIZE = (120, 90)
# The middle, a corner of the picture, and outside.
BOXES = [[10.2, 20.7, 40.0, 50.0], [100, 80, 300, 300], [500, 500, 600, 600]]


def wanted(folder, prep=None, rotated=False, **changes):
    values = {
        "draw": None,
        "crops": str(folder),
        "names": ["a/../b", "", "."],
        "threshold": 0.3,
        "line_width": None,
        "margin": 0,
        "prep": prep or Preprocessing(),
        "rotated": rotated,
    }
    return PicturesWanted(**values | changes)


def shard_of(tmp_path, boxes, scores, ending="png"):
    """A picture and the file of a shard with its detections; returns what `draw_shard` takes."""
    image = tmp_path / f"0.{ending}"
    picture(0, *SIZE).save(image)
    boxes = np.array(boxes, np.float32)
    found = Detections(np.array(scores, np.float32), boxes, np.arange(len(boxes), dtype=np.int32))
    run = make_run(tmp_path / "run", [0], [ImageResult(None, *SIZE, found)])
    (receipt,) = run.committed.values()
    record = {"file_name": image.name, "path": str(image), "drawn": image.name}
    return image, run.file(receipt), pa.Table.from_pylist([record])


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("tile", [None, 64], ids=["whole", "tiled"])
def test_crops_are_parts_of_the_picture(tmp_path, tile):
    image, file, records = shard_of(tmp_path, BOXES, [0.9, 0.8, 0.7])
    prep = Preprocessing(tile=tile, overlap=0)
    written = draw_shard(file, records, [], wanted(tmp_path / "crops", prep, margin=5))
    assert (written.drawn, written.crops, written.problems) == (0, 2, [])
    whole = pixels_of(image)
    # 10.2 - 5 and 20.7 - 5, rounded down; 40 + 5 and 50 + 5, and the last pixel counts.
    first = pixels_of(tmp_path / "crops" / "0.png" / "001-a_b.png")
    np.testing.assert_array_equal(first, whole[15:56, 5:46])
    second = pixels_of(tmp_path / "crops" / "0.png" / "002-_.png")
    np.testing.assert_array_equal(second, whole[75:90, 95:120])
    assert len(os.listdir(tmp_path / "crops" / "0.png")) == 2


def test_the_threshold_counts(tmp_path):
    _, file, records = shard_of(tmp_path, BOXES, [0.9, 0.2, 0.1])
    assert draw_shard(file, records, [], wanted(tmp_path / "crops")).crops == 1


def test_a_crop_of_a_rotated_box_is_what_encloses_it(tmp_path):
    # 41 x 21 pixels, turned by a quarter: 20 to the sides of the centre (60, 40), 40 up and down
    turned = [[40, 30, 80, 50, 1, 0]]
    image, file, records = shard_of(tmp_path, turned, [0.9])
    draw_shard(file, records, [], wanted(tmp_path / "crops", rotated=True, names=["x"]))
    crop = pixels_of(tmp_path / "crops" / "0.png" / "001-x.png")
    np.testing.assert_array_equal(crop, pixels_of(image)[20:61, 50:71])


def test_a_huge_tiled_picture_is_drawn_smaller_and_cut_at_its_size(tmp_path):
    image, file, records = shard_of(tmp_path, BOXES[:1], [0.9], ending="tif")
    with Image.open(image) as whole:
        whole.save(image, compression="raw", strip_size=120 * 3)
    prep = Preprocessing(tile=64, overlap=0, max_pixels=3_000)
    folder, drawn = tmp_path / "crops", tmp_path / "drawn"
    records = records.set_column(2, "drawn", pa.array(["0.tif.png"]))
    written = draw_shard(file, records, [], wanted(folder, prep, draw=str(drawn)))
    assert (written.drawn, written.crops, written.problems) == (1, 1, [])
    assert pixels_of(drawn / "0.tif.png").shape == (45, 60, 3)
    crop = pixels_of(folder / "0.tif.png" / "001-a_b.png")
    np.testing.assert_array_equal(crop, pixels_of(image)[20:51, 10:41])


def test_a_picture_that_is_gone_is_named(tmp_path):
    image, file, records = shard_of(tmp_path, BOXES, [0.9, 0.8, 0.7])
    image.unlink()
    written = draw_shard(file, records, [], wanted(tmp_path / "crops"))
    assert written.crops == 0
    assert written.problems[0].startswith("0.png: ")


@given(st.text(max_size=300))
def test_no_class_name_leads_out_of_the_folder(name):
    folder, _, file = crop_name("a/b.jpg", 3, name).rpartition("/")
    assert folder == "a/b.jpg"
    assert file.startswith("003-")
    assert file.endswith(".jpg")
    assert len(file.encode()) < 100
    assert "/" not in file
    assert "\0" not in file


FLOATS = st.floats(width=32)


@given(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS), st.integers(0, 50))
def test_windows_lie_in_the_picture(box, margin):
    window = crop_window(np.array(box, np.float32), margin, SIZE)
    if window is not None:
        x, y, width, height = window
        assert 0 <= x < x + width <= SIZE[0]
        assert 0 <= y < y + height <= SIZE[1]
