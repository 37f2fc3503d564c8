"""Tiles keep their boxes on the pixels they belong to, and depend on nothing but the seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from odtk_ray.training.photographs import Photograph
from odtk_ray.training.tiles import Augmentation, draw_tile, inclusive, recolour, turn

PLAIN = Augmentation(side=128, zoom=(1.5, 3.0), light=0.0, tint=0.0)
RED = (250, 10, 10)


def painted(width, height, boxes):
    """A dark picture with a red rectangle on each box."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    for x1, y1, x2, y2 in boxes:
        pixels[y1:y2, x1:x2] = RED
    return Photograph(Image.fromarray(pixels), np.array(boxes, np.float64).reshape(-1, 4))


def reddish(pixels):
    return pixels[..., 0].astype(int) - pixels[..., 1] > 120


def red_extent(pixels):
    """Edges of the red area, as a box; None without red."""
    rows, columns = np.nonzero(reddish(pixels))
    if not len(rows):
        return None
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("boxes", [[], [[3, 5, 10, 9]]])
def test_turn_moves_boxes_with_their_pixels(boxes, number):
    photograph = painted(40, 30, boxes)
    pixels, turned = turn(np.asarray(photograph.image), photograph.boxes, number)
    assert pixels.shape == ((40, 30, 3) if number >= 4 else (30, 40, 3))
    assert turned.tolist() == ([red_extent(pixels)] if boxes else [])


def test_turn_has_eight_different_results():
    photograph = painted(40, 40, [[3, 5, 10, 9]])
    pixels = np.asarray(photograph.image)
    turned = [turn(pixels, photograph.boxes, number) for number in range(8)]
    assert len({tuple(boxes[0]) for _, boxes in turned}) == 8
    assert turned[0][0] is pixels


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_boxes_of_a_tile_are_where_the_paint_is(seed):
    photograph = painted(200, 160, [[80, 60, 120, 90]])
    pixels, boxes = draw_tile([photograph], PLAIN, seed, 0)
    assert (pixels.shape, pixels.dtype, boxes.dtype) == ((128, 128, 3), np.uint8, np.float32)
    extent = red_extent(pixels)
    if len(boxes):
        # Corners to edges: the far one lies a pixel of the picture, up to 3 here, further out.
        near, far = boxes[0, :2], boxes[0, 2:]
        assert np.abs(near - extent[:2]).max() <= 1
        assert (far + 1.5 - 1 <= extent[2:]).all()
        assert (far + 3.0 + 1 >= extent[2:]).all()


def test_tiles_show_boxes_whole_cut_and_not_at_all():
    photograph = painted(200, 160, [[80, 60, 120, 90]])
    counts = {len(draw_tile([photograph], PLAIN, 1, index)[1]) for index in range(30)}
    assert counts == {0, 1}
    for index in range(30):
        pixels, boxes = draw_tile([photograph], PLAIN, 1, index)
        assert red_extent(pixels) is None or len(boxes) or reddish(pixels).mean() < 0.1
        assert (boxes >= 0).all()
        assert (boxes < 128).all()


def test_inclusive_corners_come_back_as_the_width_in_the_picture():
    # 7 pixels from column 10 at zoom 2.5; the run divides the corners by the ratio, then adds 1.
    x1, _, x2, _ = inclusive(np.array([[10, 0, 17, 4]]) * 2.5, 2.5)[0] / 2.5
    assert (x1, x2 - x1 + 1) == (10, 7)


def test_a_tile_depends_on_seed_and_index_alone():
    photographs = [painted(200, 160, [[80, 60, 120, 90]]), painted(150, 300, [[0, 0, 50, 50]])]
    how = Augmentation(side=128)
    first, same = (draw_tile(photographs, how, 3, 7) for _ in range(2))
    assert np.array_equal(first[0], same[0])
    assert np.array_equal(first[1], same[1])
    others = [draw_tile(photographs, how, *key)[0] for key in ((3, 8), (4, 7))]
    assert not any(np.array_equal(first[0], other) for other in others)


def test_large_photographs_are_drawn_more_often():
    small = Photograph(Image.new("RGB", (100, 100), (255, 0, 0)), np.empty((0, 4)))
    large = Photograph(Image.new("RGB", (300, 100), (0, 0, 255)), np.empty((0, 4)))
    how = Augmentation(side=16, zoom=(1.0, 1.0), light=0.0, tint=0.0)
    tiles = [draw_tile([small, large], how, 0, index)[0] for index in range(400)]
    share = np.mean([tile[0, 0, 2] == 255 for tile in tiles])
    assert 0.68 < share < 0.82  # 0.75; three standard deviations are 0.065


def test_zoom_covers_its_range():
    photograph = painted(120, 120, [[55, 55, 65, 65]])
    extents = [red_extent(draw_tile([photograph], PLAIN, 5, index)[0]) for index in range(200)]
    sides = [e[2] - e[0] for e in extents if e and min(e[:2]) > 0 and max(e[2:]) < 128]
    assert len(sides) > 30
    # 10 pixels at zoom 1.5 to 3, found to a pixel at each end
    assert 13 <= min(sides) <= 18
    assert 26 <= max(sides) <= 32


def test_recolour_without_change_and_with():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert np.array_equal(recolour(pixels, rng, 0.0, 0.0), pixels)
    changed = [recolour(pixels, rng, 0.3, 0.1) for _ in range(2)]
    assert not np.array_equal(*changed)
    assert all(result.dtype == np.uint8 for result in changed)


def test_recolour_neither_wraps_around_nor_loses_gray():
    white, black = np.full((4, 4, 3), 255, np.uint8), np.zeros((4, 4, 3), np.uint8)
    gray = np.full((4, 4, 3), 100, np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert (recolour(white, rng, 0.5, 0.0) >= 127).all()
        assert not recolour(black, rng, 0.5, 0.0).any()
        assert len(np.unique(recolour(gray, rng, 0.5, 0.0))) == 1
