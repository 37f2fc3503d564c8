"""The sweep keeps what `nms` keeps."""

import math

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.ops import sparse_nms as module
from odtk_ray.ops.nms import nms
from odtk_ray.ops.sparse_nms import sparse_nms


def draw(seed, count, classes, rotated, extent):
    """Seeded boxes in clusters, ties among their scores, some inverted or without a pixel."""
    g = torch.Generator().manual_seed(seed)
    centres = (torch.rand(count, 2, generator=g) * extent / 20).round() * 20
    centres += torch.randn(count, 2, generator=g) * 2
    sides = torch.rand(count, 2, generator=g) * 30 + torch.tensor([20.0, 6.0])
    sides[torch.rand(count, generator=g) < 0.05] = -9
    sides[torch.rand(count, generator=g) < 0.05] = -1
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=1)
    if rotated:
        theta = (torch.rand(count, 1, generator=g) * 8).round() * math.pi / 8
        boxes = torch.cat([boxes, theta.sin(), theta.cos()], dim=1)
    scores = torch.rand(count, generator=g).clamp(min=0.01)
    scores[torch.rand(count, generator=g) < 0.3] = 0.5
    return scores, boxes, torch.randint(classes, (count,), generator=g, dtype=torch.int32)


def assert_same(columns, **options):
    kept = sparse_nms(*columns, **options)
    expected = nms(*(c[None] for c in columns), detections=len(columns[0]) + 1, **options)
    used = expected[0][0] > 0
    for column, found in zip(columns, expected, strict=True):
        np.testing.assert_array_equal(column[kept], found[0][used])


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 80),
    classes=st.sampled_from([1, 4]),
    rotated=st.booleans(),
    threshold=st.sampled_from([0.1, 0.5, 0.9]),
    own_angles=st.booleans(),
)
@examples(150)
def test_the_same_boxes_in_the_same_order(seed, count, classes, rotated, threshold, own_angles):
    columns = draw(seed, count, classes, rotated, 150.0)
    assert_same(columns, threshold=threshold, own_angles=own_angles)


@pytest.mark.parametrize("rotated", [False, True])
def test_pairs_by_blocks(monkeypatch, rotated):
    monkeypatch.setattr(module, "_PAIRS", 50)
    assert_same(draw(3, 400, 3, rotated, 400.0), threshold=0.5)
