"""Normalisation: the same bits for everything that is run or trained on a CPU, and for the kernels.

The expected values are computed one by one, in float32, by steps that round once each.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.images.normalise import normalise, normalised_batch, pixel_levels
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.settings import MEAN, STD, Postprocessing

SHAPE = (96, 128)


def by_hand(value, channel):
    share = np.divide(np.float32(value), np.float32(255))
    return np.divide(np.subtract(share, np.float32(MEAN[channel])), np.float32(STD[channel]))


@pytest.fixture(scope="module")
def table():
    return np.array([[by_hand(value, channel) for value in range(256)] for channel in range(3)])


@pytest.fixture(scope="module")
def pictures():
    """All pixel values, an odd size, one that fills the input, and one whose memory has gaps."""
    rng = np.random.default_rng(0)
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(2, 128, 3)
    wide = rng.integers(0, 256, (50, 130, 3), dtype=np.uint8)
    sizes = ((1, 1), SHAPE)
    return [ramp, *(rng.integers(0, 256, (*s, 3), dtype=np.uint8) for s in sizes), wide[:, 1:72]]


@pytest.fixture(scope="module")
def expected(table, pictures):
    """float32 [6, 3, H, W]: looked up; two pictures are missing."""
    batch = np.zeros((len(pictures) + 2, 3, *SHAPE), np.float32)
    for slot, picture in zip(batch, pictures, strict=False):
        for channel in range(3):
            slot[channel, : picture.shape[0], : picture.shape[1]] = table[channel][
                picture[:, :, channel]
            ]
    return batch


def test_golden():
    # (0 / 255 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (255 / 255 - 0.406) / 0.225
    levels = pixel_levels(MEAN, STD)
    assert [levels[0, 0], levels[1, 128], levels[2, 255]] == pytest.approx(
        [-2.11790, 0.20518, 2.64], abs=1e-5
    )


def test_no_pictures():
    assert not normalised_batch([], 2, SHAPE).any()
    assert normalised_batch([], 0, SHAPE).shape == (0, 3, *SHAPE)


def test_levels(table):
    levels = pixel_levels(MEAN, STD)
    assert (levels.dtype, levels.shape) == (np.float32, (3, 256))
    assert np.array_equal(levels, table)


def test_batches(pictures, expected):
    batch = normalised_batch(pictures, len(expected), SHAPE)
    assert (batch.dtype, batch.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(batch, expected)


def test_other_constants_than_those_of_odtk(pictures):
    batch = normalised_batch(pictures[2:3], 1, SHAPE, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    shares = (pictures[2].astype(np.float32) / np.float32(255)).transpose(2, 0, 1)
    assert np.array_equal(batch[0], np.stack([shares[0] * 2 - 1, shares[1] * 4 - 1, shares[2]]))


def test_tensors(pictures, expected):
    columns = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    pixels = torch.from_numpy(pictures[2]).permute(2, 0, 1)
    assert torch.equal(normalise(pixels.float(), *columns), torch.from_numpy(expected[2]))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_pytorch_is_given(checkpoint, pictures, expected, threads):
    before = torch.get_num_threads()
    try:
        engine = PyTorchEngine(
            load_checkpoint(checkpoint), Postprocessing(), launch_batch=6, threads=threads
        )
        seen = []
        engine._model = lambda batch: seen.append(batch.clone()) or ([], [])
        engine.raw(pictures, SHAPE)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(seen[0], torch.from_numpy(expected))
