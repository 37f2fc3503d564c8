"""Network sizes and resizing against golden numbers and slow references."""

import math

import numpy as np
import pytest
from effort import examples
from hypothesis import example, given
from hypothesis import strategies as st

from odtk_ray.errors import ImageError
from odtk_ray.images.resize import (
    input_size,
    largest_input,
    network_size,
    network_sizes,
    padded_size,
    resize,
    scales,
)
from odtk_ray.settings import Preprocessing

PREP = Preprocessing()


@pytest.mark.parametrize(
    ("size", "resized", "padded"),
    [
        ((640, 480), (1066, 800), (1152, 896)),  # 800/480 * 640 = 1066.67
        ((640, 427), (1199, 800), (1280, 896)),  # 800/427 * 640 = 1199.06
        ((427, 640), (800, 1199), (896, 1280)),
        ((333, 500), (800, 1201), (896, 1280)),  # 800/333 * 500 = 1201.20
        ((1920, 1080), (1333, 749), (1408, 768)),  # long side: 1333/1920 * 1080 = 749.81
        ((612, 612), (800, 800), (896, 896)),
        ((1, 1), (800, 800), (896, 896)),
        ((149, 10), (1332, 89), (1408, 128)),  # 1333/149 * 149 = 1332.9999999999998
    ],
)
def test_size_table(size, resized, padded):
    new_w, new_h, ratio = network_size(*size, PREP)
    assert (new_w, new_h) == resized
    assert padded_size(new_w, new_h, 128) == padded
    assert ratio == min(800 / min(size), 1333 / max(size))


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((640, 480), (1066, 800)),  # 800/480 = 1.667 is less than 1280/640 = 2
        ((480, 640), (600, 800)),
        ((2560, 800), (1280, 400)),
        ((1280, 800), (1280, 800)),
        ((3, 2), (1200, 800)),
    ],
)
def test_fit_is_the_largest_that_fits(size, resized):
    prep = Preprocessing(fit=(800, 1280))
    new_w, new_h, ratio = network_size(*size, prep)
    assert (new_w, new_h) == resized
    assert ratio == min(1280 / size[0], 800 / size[1])
    assert input_size(new_w, new_h, prep) == (1280, 800)
    with pytest.raises(ImageError, match="fit 800 1280"):
        network_size(100_000, 1, prep)


@given(st.integers(1, 100_000), st.integers(1, 100_000), st.integers(1, 60), st.integers(1, 60))
def test_fit_never_crops(width, height, rows, columns):
    prep = Preprocessing(fit=(32 * rows, 32 * columns))
    try:
        new_w, new_h, _ = network_size(width, height, prep)
    except ImageError:
        return
    assert new_w <= 32 * columns
    assert new_h <= 32 * rows
    # One side fills the input, up to the truncation.
    assert new_w >= 32 * columns - 1 or new_h >= 32 * rows - 1


# 800 / side * side is just below 800 in float64 for these (the list is not complete).
ARTEFACTS = [97, 161, 167, 193, 322, 334, 335, 337, 369, 371, 385, 386, 387, 388, 390, 398]
ARTEFACTS += [539, 578, 607, 610, 644, 653]


@pytest.mark.parametrize("side", ARTEFACTS)
def test_truncation_keeps_odtks_short_sides(side):
    assert network_size(side, side, PREP)[:2] == (799, 799)
    assert network_size(side + 30, side, PREP)[1] == 799


@pytest.mark.parametrize("side", [96, 98, 100, 333, 427, 480, 654])
def test_other_short_sides_are_exact(side):
    assert network_size(side, side, PREP)[:2] == (800, 800)


def test_limit_of_the_long_side_is_not_strict():
    prep = Preprocessing(resize=400, max_size=800)
    assert network_size(100, 200, prep) == (400, 800, 4.0)  # 4 * 200 = 800 is not longer
    assert network_size(100, 201, prep) == (398, 800, 800 / 201)  # 800/201 * 100 = 398.01


def test_a_side_of_0_pixels_is_refused_with_the_numbers():
    with pytest.raises(ImageError, match=r"1x1334 would be resized to 0x1333 pixels .*800.*1333"):
        network_size(1, 1334, PREP)
    assert network_size(1, 1333, PREP)[:2] == (1, 1333)


@pytest.mark.parametrize(
    ("size", "stride", "padded"),
    [
        ((1, 1), 1, (1, 1)),
        ((128, 129), 128, (128, 256)),
        ((1066, 800), 1, (1066, 800)),
        ((1066, 800), 32, (1088, 800)),
    ],
)
def test_padded_size(size, stride, padded):
    assert padded_size(*size, stride) == padded


def scalar_sizes(width, height, prep):
    if width <= 0 or height <= 0:
        return 0, 0
    if prep.tile:
        width, height = min(width, prep.tile), min(height, prep.tile)
    try:
        new_w, new_h, _ = network_size(width, height, prep)
    except ImageError:
        return 0, 0
    return input_size(new_w, new_h, prep)


SIDES = st.one_of(st.integers(0, 3000), st.sampled_from([*ARTEFACTS, 149, 100_000, 2**31 - 1]))
PREPS = st.builds(
    Preprocessing,
    resize=st.integers(1, 2000),
    max_size=st.integers(1, 3000),
    stride=st.sampled_from([1, 32, 128]),
    fit=st.one_of(st.none(), st.sampled_from([(32, 32), (800, 1280), (1280, 800)])),
    tile=st.one_of(st.none(), st.integers(1, 4000)),
)


@examples(150)
@given(st.lists(st.tuples(SIDES, SIDES), max_size=40), st.one_of(st.just(PREP), PREPS))
@example([(30, 50)], Preprocessing(stride=1))  # 800/30 * 50 is over 1333 by a third of a pixel
def test_network_sizes_equal_the_scalar_functions(sizes, prep):
    table = np.array(sizes, np.int32).reshape(-1, 2)
    widths, heights = network_sizes(table[:, 0], table[:, 1], prep)
    assert widths.dtype == heights.dtype == np.int64
    expected = [scalar_sizes(w, h, prep) for w, h in sizes]
    assert list(zip(widths.tolist(), heights.tolist(), strict=True)) == expected
    found = scales(table[:, 0], table[:, 1], prep).tolist()
    for (width, height), usable, scale in zip(sizes, expected, found, strict=True):
        if usable != (0, 0):
            sides = (min(side, prep.tile or side) for side in (width, height))
            assert scale == network_size(*sides, prep)[2]
        elif not (width > 0 and height > 0):
            assert math.isnan(scale)


@examples(150)
@given(st.lists(st.tuples(SIDES, SIDES), max_size=40), st.one_of(st.just(PREP), PREPS))
@example([(1333, 800), (800, 1333)], PREP)
def test_no_network_size_is_greater_than_the_largest(sizes, prep):
    largest = largest_input(prep)
    assert largest == prep.fit[::-1] if prep.fit else largest[0] >= largest[1]
    table = np.array(sizes, np.int32).reshape(-1, 2)
    for found in zip(*network_sizes(table[:, 0], table[:, 1], prep), strict=True):
        sides = found if prep.fit else sorted(found, reverse=True)
        assert all(side <= most for side, most in zip(sides, largest, strict=True))


def test_the_largest_network_size_is_that_of_a_picture():
    found = network_sizes(np.array([1333]), np.array([800]), PREP)
    assert tuple(int(side[0]) for side in found) == largest_input(PREP) == (1408, 896)


# ---- resizing ----------------------------------------------------------------------------------


def slow_pass(pixels, size):
    """Resizes axis 1: triangle filter, coefficients of 22 bits, int32 sums."""
    length = pixels.shape[1]
    if length == size:
        return pixels
    scale = length / size
    support = max(scale, 1.0)
    columns = []
    for i in range(size):
        centre = (i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), length)
        weights = [max(0.0, 1.0 - abs((x - centre + 0.5) / support)) for x in range(first, last)]
        total = sum(weights)
        fixed = [int(0.5 + weight / total * (1 << 22)) for weight in weights]
        sums = np.full((len(pixels), 3), 1 << 21, np.int64)
        for x, weight in zip(range(first, last), fixed, strict=True):
            sums += pixels[:, x].astype(np.int64) * weight
        columns.append(np.clip(sums >> 22, 0, 255).astype(np.uint8))
    return np.stack(columns, axis=1)


def slow_resize(pixels, new_w, new_h):
    wide = slow_pass(pixels, new_w)
    return slow_pass(wide.swapaxes(0, 1), new_h).swapaxes(0, 1)


FIXED_SIZES = [
    ((30, 40), (30, 40)),  # neither pass
    ((30, 40), (30, 17)),  # width only
    ((30, 40), (61, 40)),  # height only
    ((1, 1), (5, 7)),
    ((33, 1), (1, 20)),
    ((1, 50), (40, 1)),
    ((400, 3), (2, 90)),  # extreme aspects, both ways at once
    ((3, 400), (90, 2)),
    ((200, 40), (20, 39)),  # reduced portrait: Pillow 13 alone would go vertical first
    ((250, 30), (25, 8)),
]


@pytest.mark.parametrize(("old", "new"), FIXED_SIZES)
def test_resize_equals_the_slow_formula(old, new):
    pixels = np.random.default_rng(old[0]).integers(0, 256, (*old, 3), dtype=np.uint8)
    result = resize(pixels, new[1], new[0])
    assert result.dtype == np.uint8
    assert np.array_equal(result, slow_resize(pixels, new[1], new[0]))


@examples(60)
@given(*[st.integers(1, 70)] * 4, st.integers(0, 2**32 - 1), st.booleans())
def test_resize_equals_the_slow_formula_for_random_sizes(h, w, new_h, new_w, seed, extremes):
    pixels = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    if extremes:  # black and white: the sums reach both ends of the clip
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    assert np.array_equal(resize(pixels, new_w, new_h), slow_resize(pixels, new_w, new_h))
