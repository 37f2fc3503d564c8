"""Pixels of tiles against Pillow and numpy, one step at a time."""

import dataclasses

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from training.appearance import LUMA, AppearanceRange
from training.photographs import Photograph
from training.rendering import Renderer, apply_appearances, blur
from training.tiles import Augmentation, draw_tile, turn

CPU = torch.device("cpu")
NONE = AppearanceRange(1, 1, 1, 0, 0, 1, 1, 1, 1, (0, 0), 0)
SMOOTH = Augmentation(side=128, zoom=(1.5, 3.0), holes=0, variety=NONE)
LOOK = NONE.draw(np.random.default_rng(0))


def noisy(width=200, height=160):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Photograph(Image.fromarray(pixels), np.empty((0, 4)))


def render(photograph, how, seed, index=0):
    tile = draw_tile([photograph], how, seed, index)
    [pixels] = Renderer([photograph], how.side, seed, CPU)([tile])
    assert (pixels.shape, pixels.dtype) == ((3, how.side, how.side), torch.float32)
    return tile, pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("zoom", [0.75, 1.0, 2.2])
def test_geometry_is_pillows(zoom):
    photograph = noisy()
    how = Augmentation(side=96, zoom=(zoom, zoom), stretch=1.2, holes=0, variety=NONE)
    turns = set()
    for index in range(20):
        tile, pixels = render(photograph, how, 0, index)
        part = photograph.image.crop(tile.area).resize((96, 96), Image.Resampling.BILINEAR)
        expected, _ = turn(np.asarray(part), photograph.boxes, tile.turned)
        assert np.abs(pixels - expected).max() <= 1
        turns.add(tile.turned)
    assert len(turns) == 8


@given(st.integers(0, 2**32))
@examples(40)
def test_boxes_of_a_tile_are_where_the_paint_is(seed):
    pixels = np.full((160, 200, 3), 20, np.uint8)
    pixels[60:90, 80:120] = (250, 10, 10)
    photograph = Photograph(Image.fromarray(pixels), np.array([[80.0, 60, 120, 90]]))
    tile, shown = render(photograph, SMOOTH, seed)
    assert (tile.boxes >= 0).all()
    assert (tile.boxes < 128).all()
    for box in tile.boxes:
        rows, columns = np.nonzero(shown[..., 0] - shown[..., 1] > 120)
        low = np.array([columns.min(), rows.min()])
        high = np.array([columns.max(), rows.max()]) + 1
        # Corners to edges: the far one lies a pixel of the picture, up to 3.4 here, further out.
        assert np.abs(box[:2] - low).max() <= 1
        assert (box[2:] + 1.3 - 1 <= high).all()
        assert (box[2:] + 3.4 + 1 >= high).all()


def test_a_tile_is_the_same_whatever_else_is_in_its_batch():
    photograph = noisy()
    how = Augmentation(side=64)
    tiles = [draw_tile([photograph], how, 2, index) for index in range(6)]
    batch = Renderer([photograph], 64, 2, CPU)(tiles)
    for tile, together in zip(tiles, batch, strict=True):
        [alone] = Renderer([photograph], 64, 2, CPU)([tile])
        assert (alone - together).abs().max() <= 1  # a value at .5 may be rounded either way
        assert (alone != together).float().mean() < 1e-3
    assert not torch.equal(batch[0], batch[1])
    assert torch.equal(batch, batch.round())
    assert batch.min() >= 0
    assert batch.max() <= 255


def test_holes_are_gray():
    how = Augmentation(side=64, holes=5, variety=AppearanceRange())
    seen = 0
    for index in range(10):
        tile, pixels = render(noisy(), how, 0, index)
        for x1, y1, x2, y2 in tile.holes.tolist():
            assert (pixels[y1:y2, x1:x2] == 128).all()
            seen += 1
    assert seen > 10


def looked(pixels, **changes):
    """A picture with another look; its noise is 2 everywhere."""
    tensor = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    appearance = dataclasses.replace(LOOK, **changes)
    result = apply_appearances(tensor, [appearance], torch.full_like(tensor, 2.0))
    return result[0].permute(1, 2, 0).numpy()


COLOURS = np.random.default_rng(3).integers(60, 190, (24, 24, 3)).astype(np.float64)


def test_no_look_changes_nothing():
    assert np.array_equal(looked(COLOURS), COLOURS)


def test_colours_contrast_gamma_and_noise_by_numpy():
    mix = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.0, 0.1, 1.1]])
    gamma = np.array([0.8, 1.0, 1.5])
    values = 255 * (COLOURS / 255) ** gamma @ mix.T
    mean = values.mean(axis=(0, 1)) @ LUMA
    values = np.clip(mean + 0.6 * (values - mean) + 5 * 2.0, 0, 255)
    found = looked(
        COLOURS,
        mix=mix.astype(np.float32),
        gamma=gamma.astype(np.float32),
        contrast=0.6,
        noise=5.0,
    )
    assert np.abs(found - values).max() <= 0.51


def test_light_is_interpolated_from_corner_to_corner():
    light = np.tile(np.float32([0.5, 0.5, 1.0, 1.0]), (4, 1))
    found = looked(np.full((30, 30, 3), 100.0), light=light)
    assert (found[:, 0] == 50).all()
    assert (found[:, -1] == 100).all()
    assert 60 < found[0, 15, 0] < 90


@pytest.mark.parametrize("sigma", [0.6, 1.5, 2.5])
def test_blur_is_scipys(sigma):
    pixels = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (2, 3, 20, 25)))
    found = blur(pixels.float(), torch.tensor([sigma, 1.0]))
    for number, own in enumerate([sigma, 1.0]):
        expected = gaussian_filter(pixels[number].numpy(), (0, own, own), mode="nearest", radius=6)
        assert np.abs(found[number].numpy() - expected).max() < 1e-3


def test_sharpness_blurs_and_sharpens():
    step = np.zeros((20, 20, 3))
    step[:, 10:] = 200
    step += 20
    soft, hard = (looked(step, sigma=1.5, sharpness=value)[10, :, 0] for value in (-1.0, 1.0))
    assert (np.diff(soft) >= 0).all()
    assert soft[9] > 60
    assert hard[10] > 220
    assert hard[9] < 20
