"""Histograms add up to what one histogram of everything is; ranges against plain searches."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.errors import OdtkError
from odtk_ray.exports.int8.calibration import histogram
from odtk_ray.exports.int8.histograms import BINS, Histogram

MAGNITUDES = st.floats(2.0**-100, 2.0**100, width=32)


@examples(100)
@given(
    st.lists(st.lists(MAGNITUDES, min_size=1, max_size=20), min_size=1, max_size=6), st.randoms()
)
def test_sums_are_the_histogram_of_everything(parts, random):
    whole = histogram(torch.tensor([value for part in parts for value in part]))
    random.shuffle(parts)
    added = functools.reduce(operator.add, (histogram(torch.tensor(part)) for part in parts))
    assert (added.exponent, added.largest) == (whole.exponent, whole.largest)
    np.testing.assert_array_equal(added.counts, whole.counts)


@pytest.mark.parametrize(
    ("values", "exponent", "filled"),
    [
        ([0.0, 0.0], -126, {}),
        ([1.0], 1, {BINS // 2: 1}),  # 1 is in the middle of [0, 2)
        ([-1.0, 1.9999, 0.0], 1, {BINS // 2: 1, BINS - 1: 1}),
        ([0.75, 0.25], 0, {BINS * 3 // 4: 1, BINS // 4: 1}),
    ],
)
def test_golden(values, exponent, filled):
    found = histogram(torch.tensor(values))
    assert found.exponent == exponent
    assert {int(i): int(found.counts[i]) for i in np.flatnonzero(found.counts)} == filled


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_end_a_calibration(odd):
    with pytest.raises(OdtkError, match="NaN or infinity in conv1:in"):
        histogram(torch.tensor([1.0, odd]), "conv1:in")


def rounding_error(values, amax):
    step = amax / 127
    codes = np.clip(np.rint(values / step), -127, 127)
    return np.mean((codes * step - values) ** 2)


def normal_with_outliers():
    values = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    values[:2] = 50  # a ten-thousandth of them
    return values


def test_max_is_the_largest_value():
    values = normal_with_outliers()
    assert histogram(torch.from_numpy(values)).amax("max") == 50


def test_percentile_leaves_out_the_largest():
    values = normal_with_outliers()
    amax = histogram(torch.from_numpy(values)).amax("percentile")
    below = np.mean(np.abs(values) <= amax)
    assert 0.9999 <= below < 1
    assert amax < 6


def test_mse_is_near_the_best_of_a_plain_search():
    values = normal_with_outliers()
    chosen = histogram(torch.from_numpy(values)).amax("mse")
    best = min(rounding_error(values, amax) for amax in np.linspace(0.5, 50, 400))
    assert rounding_error(values, chosen) <= 1.02 * best
    assert rounding_error(values, chosen) < rounding_error(values, 5)


def slow_divergence(counts, end):
    """As the talk has it, in loops."""
    reference = [float(c) for c in counts[:end]]
    reference[-1] += float(sum(counts[end:]))
    groups = [[] for _ in range(128)]
    for i in range(end):
        groups[i * 128 // end].append(i)
    spread = [0.0] * end
    for group in groups:
        filled = [i for i in group if counts[i] > 0]
        for i in filled:
            spread[i] = float(sum(counts[j] for j in group)) / len(filled)
    total_p, total_q = sum(reference), sum(spread)
    divergence = 0.0
    for p, q in zip(reference, spread, strict=True):
        if p > 0 and q == 0:
            return float("inf")
        if p > 0:
            divergence += p / total_p * np.log((p / total_p) / (q / total_q))
    return divergence


def test_entropy_is_the_least_divergence():
    values = np.random.default_rng(1).exponential(size=3000).astype(np.float32)
    found = histogram(torch.from_numpy(values))
    unit = 2.0**found.exponent / BINS
    last = int(np.flatnonzero(found.counts)[-1]) + 1
    ends = range(128, last + 1, 7)
    best = min(slow_divergence(found.counts.tolist(), end) for end in ends)
    chosen = min(round(found.amax("entropy") / unit), last)
    if found.amax("entropy") == found.largest:
        chosen = last
    assert slow_divergence(found.counts.tolist(), chosen) <= best + 1e-9


@pytest.mark.parametrize(
    ("counts", "clipped"),
    [
        (np.full(160, 40), False),  # as they are, nothing is lost at all
        (np.random.default_rng(2).integers(0, 30, 190), False),
        (np.histogram(np.random.default_rng(3).exponential(size=3000), 300)[0], True),
        (np.concatenate([np.arange(150, 0, -1), np.zeros(150, int), [1]]), True),
    ],
)
def test_entropy_tries_every_end(counts, clipped):
    whole = np.zeros(BINS, np.int64)
    whole[: len(counts)] = counts
    last = int(np.flatnonzero(whole)[-1]) + 1
    divergences = [slow_divergence(whole.tolist(), end) for end in range(128, last + 1)]
    best = 128 + int(np.argmin(divergences))
    assert (best < last) is clipped
    largest = 0.123  # taken where nothing is clipped
    assert Histogram(0, whole, largest).amax("entropy") == (best / BINS if clipped else largest)


@pytest.mark.parametrize("method", ["entropy", "percentile", "max", "mse"])
def test_ranges_of_odd_histograms(method):
    assert Histogram.empty().amax(method) == 0
    single = histogram(torch.full((10,), 3.0)).amax(method)
    assert 2.5 < single <= 3.01
    few = histogram(torch.tensor([1e-3, 1.0])).amax(method)
    assert 0 < few <= 1.001
