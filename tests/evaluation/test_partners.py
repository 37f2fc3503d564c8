"""Detections of two detectors are matched as a slow loop matches them."""

import numpy as np
import pytest

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.evaluation.partners import find_partners


def table(rng, n):
    """Boxes on a coarse grid, so that several overlap equally."""
    image = np.sort(rng.integers(0, 3, n))
    bbox = np.hstack([rng.integers(0, 5, (n, 2)) * 4.0, np.full((n, 2), 20.0)])
    return DetectionTable(image, rng.integers(0, 2, n), rng.random(n), bbox)


def iou(a, b):
    sides = [max(min(a[k] + a[k + 2], b[k] + b[k + 2]) - max(a[k], b[k]), 0) for k in (0, 1)]
    inner = sides[0] * sides[1]
    return inner / (a[2] * a[3] + b[2] * b[3] - inner)


def slowly(one, other, least):
    pairs = [
        (iou(one.bbox[i], other.bbox[j]), i, j)
        for i in range(len(one))
        for j in range(len(other))
        if one.image[i] == other.image[j] and one.category[i] == other.category[j]
    ]
    found = {}
    for value, i, j in sorted(pairs, key=lambda p: (-p[0], p[1], p[2])):
        if value >= least and i not in found and j not in found.values():
            found[i] = j
    return found


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("least", [0.3, 0.9])
def test_the_best_overlap_comes_first(seed, least):
    rng = np.random.default_rng(seed)
    one, other = (table(rng, int(rng.integers(0, 25))) for _ in range(2))
    first, second = find_partners(one, other, least)
    expected = slowly(one, other, least)
    assert {i: j for i, j in enumerate(first.tolist()) if j >= 0} == expected
    assert {j: i for j, i in enumerate(second.tolist()) if i >= 0} == {
        j: i for i, j in expected.items()
    }


def test_rotated_boxes_are_matched_by_their_outlines():
    """A bar and the same bar turned by a right angle share little, though their boxes are equal."""
    bars = [[0, 0, 41, 5, 0.0], [0, 0, 41, 5, np.pi / 2], [0, 0, 41, 5, np.pi]]
    one, *others = (
        DetectionTable(np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1), np.array([bar]))
        for bar in bars
    )
    assert [find_partners(one, other, 0.9)[0].tolist() for other in others] == [[-1], [0]]
