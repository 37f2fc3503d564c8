"""What tiles say: boxes on what they belong to, and nothing but the seed decides."""

import numpy as np
import pytest
from PIL import Image
from training.photographs import Photograph
from training.tiles import Augmentation, draw_tile, inclusive, turn, turn_boxes

HOW = Augmentation(side=128, zoom=(1.5, 3.0))
BOXES = np.array([[3, 5, 10, 9], [0, 0, 40, 30]], np.float64)


def blank(width, height, boxes=()):
    return Photograph(Image.new("RGB", (width, height)), np.array(boxes, np.float64).reshape(-1, 4))


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("boxes", [[], [[3, 5, 10, 9]]])
def test_turn_moves_boxes_with_their_pixels(boxes, number):
    pixels = np.zeros((30, 40, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = 255
    pixels, turned = turn(pixels, np.array(boxes, np.float64).reshape(-1, 4), number)
    assert pixels.shape == ((40, 30, 3) if number >= 4 else (30, 40, 3))
    rows, columns = np.nonzero(pixels[..., 0])
    extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if boxes else []
    assert turned.tolist() == ([extent] if boxes else [])


def test_turn_has_eight_different_results():
    pixels = np.zeros((40, 40, 3), np.uint8)
    turned = [turn(pixels, BOXES, number) for number in range(8)]
    assert len({tuple(boxes[0]) for _, boxes in turned}) == 8
    assert turned[0][0] is pixels
    assert turn_boxes(BOXES, 40, 40, 0) is BOXES


def test_inclusive_corners_come_back_as_the_width_in_the_picture():
    # 7 x 4 pixels from (10, 0) at zooms 2.5 and 2; the run divides corners by the ratio and adds 1.
    zoom = np.array([2.5, 2.0])
    corners = inclusive(np.array([[10, 0, 17, 4]]) * [2.5, 2, 2.5, 2], zoom)[0]
    x1, y1, x2, y2 = corners / [2.5, 2, 2.5, 2]
    assert (x1, x2 - x1 + 1, y1, y2 - y1 + 1) == (10, 7, 0, 4)


def test_a_tile_depends_on_seed_and_index_alone():
    photographs = [blank(200, 160, [[80, 60, 120, 90]]), blank(150, 300, [[0, 0, 50, 50]])]
    first, same = (draw_tile(photographs, HOW, 3, 7) for _ in range(2))
    assert repr(first) == repr(same)
    others = [draw_tile(photographs, HOW, *key) for key in ((3, 8), (4, 7))]
    assert not any(repr(first) == repr(other) for other in others)


def test_large_photographs_are_drawn_more_often():
    photographs = [blank(100, 100), blank(300, 100)]
    how = Augmentation(side=16)
    drawn = [draw_tile(photographs, how, 0, index).photograph for index in range(400)]
    assert 0.68 < np.mean(drawn) < 0.82  # 0.75; three standard deviations are 0.065


def test_areas_cover_the_photograph_and_zoom_its_range():
    tiles = [draw_tile([blank(120, 130)], HOW, 5, index) for index in range(300)]
    areas = np.array([tile.area for tile in tiles])
    assert (areas[:, :2].min(axis=0) == 0).all()
    assert areas[:, 2:].max(axis=0).tolist() == [120, 130]
    sides = areas[:, 2:] - areas[:, :2]
    zoom = 128 / np.sqrt(sides.prod(axis=1))
    assert 1.49 < zoom.min() < 1.55
    assert 2.9 < zoom.max() < 3.02
    stretch = sides[:, 1] / sides[:, 0]
    assert 0.78 < stretch.min() < 0.83
    assert 1.2 < stretch.max() < 1.28


def test_boxes_behind_holes_are_left_out():
    photograph = blank(128, 128, [[20, 20, 40, 40]])
    plain = Augmentation(side=128, zoom=(1.0, 1.0), stretch=1.0, holes=0)
    holed = Augmentation(side=128, zoom=(1.0, 1.0), stretch=1.0, holes=20, hole=60)
    assert all(len(draw_tile([photograph], plain, 0, index).boxes) == 1 for index in range(50))
    kept = 0
    for index in range(100):
        tile = draw_tile([photograph], holed, 0, index)
        assert ((tile.holes >= 0) & (tile.holes <= 128)).all()
        [edges] = turn_boxes(photograph.boxes, 128, 128, tile.turned)
        x1, y1, x2, y2 = edges.astype(int)
        shares = []
        for a, b, c, d in tile.holes.tolist():
            hole = np.zeros((128, 128), bool)
            hole[b:d, a:c] = True
            shares.append(hole[y1:y2, x1:x2].mean())
        assert len(tile.boxes) == (max(shares, default=0) < 0.5)
        kept += len(tile.boxes)
    assert 10 < kept < 90
