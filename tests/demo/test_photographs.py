"""Pictures of a COCO file, and which boxes belong to a part of them."""

import json

import numpy as np
import pytest
from PIL import Image
from training.photographs import Photograph, clip_boxes, read_photographs

AREA = (100, 50, 200, 150)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([], []),
        ([[110, 60, 120, 70]], [[10, 10, 20, 20]]),
        ([[100, 50, 200, 150]], [[0, 0, 100, 100]]),  # all of it
        ([[0, 0, 90, 40]], []),  # elsewhere
        ([[300, 60, 310, 70]], []),
        ([[93, 60, 103, 70]], [[0, 10, 3, 20]]),  # 3 of 10 columns are enough
        ([[92, 60, 102, 70]], []),  # 2 are not
        ([[195, 140, 205, 160]], []),  # a quarter, at the corner
        ([[0, 60, 10, 70], [150, 100, 160, 110]], [[50, 50, 60, 60]]),
    ],
)
def test_clip_boxes(boxes, expected):
    clipped = clip_boxes(np.array(boxes, np.float64).reshape(-1, 4), AREA)
    assert clipped.shape == (len(expected), 4)
    assert clipped.tolist() == expected


def test_read_photographs_and_cut(tmp_path):
    pixels = np.zeros((30, 40, 4), np.uint8)
    pixels[5:9, 10:20] = 255
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    Image.new("L", (8, 6)).save(tmp_path / "b.png")
    content = {
        "images": [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}],
        "annotations": [
            {"image_id": 3, "category_id": 1, "bbox": [10, 5, 10, 4]},
            {"image_id": 3, "category_id": 2, "bbox": [0, 0, 1, 1]},
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content), encoding="utf-8")
    a, b = read_photographs(tmp_path / "boxes.json", tmp_path, ["a.png", "b.png"])
    assert (a.image.mode, a.image.size, b.image.mode, b.image.size) == (
        ("RGB", (40, 30), "RGB", (8, 6))
    )
    assert (a.boxes.tolist(), b.boxes.shape) == ([[10, 5, 20, 9], [0, 0, 1, 1]], (0, 4))
    part = a.cut((8, 4, 28, 24))
    assert isinstance(part, Photograph)
    assert part.boxes.tolist() == [[2, 1, 12, 5]]
    assert (np.asarray(part.image)[1:5, 2:12] == 255).all()
    assert np.count_nonzero(part.image) == 4 * 10 * 3
