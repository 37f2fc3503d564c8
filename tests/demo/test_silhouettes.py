"""Shapes fill their boxes, so that the boxes are exact, and differ from each other."""

import numpy as np
import pytest
from training.silhouettes import NAMES, SILHOUETTES

U, V = np.meshgrid(np.linspace(-1.2, 1.2, 481), np.linspace(-1.2, 1.2, 481))
EACH = pytest.mark.parametrize("silhouette", SILHOUETTES, ids=NAMES)


def inside(silhouette):
    return silhouette.depth(U, V, 200, 50) > 0


@EACH
def test_a_shape_touches_all_sides_of_its_box(silhouette):
    mask = inside(silhouette)
    step = 2.4 / 480
    for axis in (U, V):
        assert axis[mask].min() == pytest.approx(-1, abs=2 * step)
        assert axis[mask].max() == pytest.approx(1, abs=2 * step)


@EACH
def test_depth_is_that_of_the_nearer_side(silhouette):
    # In the middle of a box of 200 by 50 pixels, from where the outline is this far across
    middle = silhouette.depth(np.zeros(1), np.zeros(1), 200, 50)
    assert middle == pytest.approx(25 * silhouette.reach(np.zeros(1)))
    # 30 pixels beyond the right end
    assert silhouette.depth(np.array([1.3]), np.zeros(1), 200, 50) == pytest.approx(-30)


@EACH
def test_shading_is_about_one(silhouette):
    shade = silhouette.shade(U, V)[inside(silhouette)]
    assert 0.3 < shade.min() < 1 < shade.max() < 1.5
    assert shade.max() - shade.min() > 0.3


def test_no_two_kinds_have_the_same_outline():
    masks = [inside(silhouette) for silhouette in SILHOUETTES]
    for i, a in enumerate(masks):
        for b in masks[i + 1 :]:
            assert (a & b).sum() / (a | b).sum() < 0.8


def test_only_the_wedge_has_a_head_and_a_tail():
    masks = {s.name: inside(s) for s in SILHOUETTES}
    differ = {name: (mask != mask[:, ::-1]).sum() / mask.sum() for name, mask in masks.items()}
    assert differ.pop("wedge") > 0.3
    assert max(differ.values()) < 0.02
