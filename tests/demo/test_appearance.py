"""Appearance of scenes: matrices by their properties, ranges by many draws."""

import math

import numpy as np
import pytest
from training.appearance import LUMA, MILD, NOISE, AppearanceRange, saturate, turn_hue

NONE = AppearanceRange(1, 1, 1, 0, 0, 1, 1, 1, 1, (0, 0), 0)


def appearances(variety, count=300):
    return [variety.draw(np.random.default_rng(seed)) for seed in range(count)]


def test_turning_a_third_of_a_circle_permutes_the_colours():
    red = turn_hue(2 * math.pi / 3) @ [1, 0, 0]
    assert red == pytest.approx([0, 1, 0], abs=1e-12)


@pytest.mark.parametrize("angle", [-2.0, 0.0, 0.3, 3.0])
def test_turning_keeps_gray_and_lengths(angle):
    matrix = turn_hue(angle)
    assert matrix @ [5, 5, 5] == pytest.approx([5, 5, 5])
    assert matrix @ matrix.T == pytest.approx(np.eye(3))


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 2.0])
def test_saturation_keeps_the_luma(factor):
    colour = np.array([200.0, 90.0, 30.0])
    result = saturate(factor) @ colour
    luma = LUMA @ colour
    assert LUMA @ result == pytest.approx(luma)
    assert result - luma == pytest.approx(factor * (colour - luma))


def test_no_variety_changes_nothing():
    for appearance in appearances(NONE, 5):
        assert appearance.mix == pytest.approx(np.eye(3), abs=1e-6)
        assert (appearance.contrast, appearance.sharpness, appearance.noise) == (1, 0, 0)
        assert appearance.gamma.tolist() == [1, 1, 1]
        assert (appearance.light == 1).all()


def test_ranges_are_reached_and_kept():
    drawn = appearances(AppearanceRange(brightness=1, saturation=1, hue=0, tint=1.25, gray=0))
    tints = np.array([np.diag(appearance.mix) for appearance in drawn])
    assert 1 / 1.25 - 1e-6 < tints.min() < 0.81
    assert 1.24 < tints.max() < 1.25 + 1e-6
    contrasts = [appearance.contrast for appearance in drawn]
    assert 0.5 < min(contrasts) < 0.52
    assert 1.94 < max(contrasts) < 2.0
    sigmas = [appearance.sigma for appearance in drawn]
    assert 2.5 / 4 < min(sigmas) < 0.65
    assert 2.4 < max(sigmas) < 2.5
    assert {appearance.grain for appearance in drawn} == {1, 2}
    corners = np.array([appearance.corner for appearance in drawn])
    assert corners.min() >= 0
    assert 0.9 * NOISE < corners.max() < NOISE


def test_the_share_of_gray_tiles():
    gray = [
        np.ptp(appearance.mix.sum(axis=0) / LUMA) < 1e-4
        for appearance in appearances(AppearanceRange(hue=0, tint=1, gray=0.3))
    ]
    assert 0.22 < np.mean(gray) < 0.38  # three standard deviations are 0.08
    assert not any(appearance.noise for appearance in appearances(MILD, 20))
