"""Batches: the pictures of their numbers, on whichever processes they are drawn."""

import numpy as np
import pytest
import torch
from PIL import Image
from training.appearance import MILD
from training.batches import SceneSource, TileSource, network_boxes
from training.photographs import Photograph
from training.rendering import Renderer
from training.scenes import Style, draw_scene
from training.tiles import Augmentation, draw_tile

from odtk_ray.records import to_bbox

STYLE = Style(side=128, count=(1, 4), sides=(16.0, 100.0), aspects=(1.5, 6.0))
STEPS = [range(4, 7), range(7, 8), range(20, 26, 3)]


@pytest.fixture(scope="module")
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    return Image.fromarray(pixels).resize((400, 320))


def test_tiles_are_those_of_their_numbers(image):
    photograph = Photograph(image, np.array([[30.0, 40, 90, 100], [200, 150, 260, 210]]))
    how = Augmentation(side=96, zoom=(1.0, 1.5), variety=MILD)
    batches = list(TileSource([photograph], how, seed=3).batches(STEPS))
    assert [len(batch.pixels) for batch in batches] == [3, 1, 2]
    render = Renderer([photograph], 96, 3, torch.device("cpu"))
    for batch, indices in zip(batches, STEPS, strict=True):
        tiles = [draw_tile([photograph], how, 3, index) for index in indices]
        assert torch.equal(batch.pixels, render(tiles))
        for tile, boxes, classes in zip(tiles, batch.boxes, batch.classes, strict=True):
            assert np.array_equal(boxes.numpy(), tile.boxes)
            assert classes.tolist() == [0] * len(boxes)


def test_scenes_are_those_of_their_numbers(image):
    batches = list(SceneSource([image], STYLE, MILD, seed=3).batches(STEPS))
    for batch, indices in zip(batches, STEPS, strict=True):
        assert batch.pixels.shape == (len(indices), 3, 128, 128)
        assert torch.equal(batch.pixels, batch.pixels.round().clamp(0, 255))
        for slot, index in enumerate(indices):
            scene = draw_scene([image], STYLE, 3, index)
            assert np.array_equal(batch.boxes[slot].numpy(), network_boxes(scene))
            assert np.array_equal(batch.classes[slot].numpy(), scene.classes)
            # The look changes colours, not places
            drawn = batch.pixels[slot].mean(0).flatten().numpy()
            assert np.corrcoef(drawn, scene.pixels.mean(2).ravel())[0, 1] > 0.9


def test_processes_draw_the_same_scenes_in_the_same_order(image):
    alone, shared = (
        list(SceneSource([image], STYLE, MILD, seed=3, processes=processes).batches(STEPS))
        for processes in (0, 2)
    )
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a.pixels, b.pixels)
        for name in ("boxes", "classes"):
            for one, other in zip(getattr(a, name), getattr(b, name), strict=True):
                assert torch.equal(one, other)


def test_the_seed_decides(image):
    first, other = (
        next(SceneSource([image], STYLE, MILD, seed=seed).batches([range(2)])) for seed in (1, 2)
    )
    assert not torch.equal(first.pixels, other.pixels)


def test_boxes_for_the_network_are_those_of_the_files(image):
    scene = draw_scene([image], Style(side=320), 3, 0)
    assert len(scene.boxes) > 5
    assert to_bbox(network_boxes(scene)) == pytest.approx(scene.boxes, abs=1e-4)
