"""Sizes, coefficients and levels of network inputs, against Python's."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_files import PHOTOGRAPHS
from PIL import Image

from cuda_ops.preprocess import resize_coefficients
from odtk_ray.errors import ImageError
from odtk_ray.images.normalise import pixel_levels
from odtk_ray.images.resize import network_size, resize
from odtk_ray.settings import Preprocessing


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.name)
def test_photographs_are_resized_as_by_pillow(units, path):
    pixels = np.asarray(Image.open(path).convert("RGB"))
    for width, height in ((400, 400), (256, 199), (640, 401), (1, 1)):
        expected = resize(pixels, width, height)
        assert units("resize", path, width, height) == expected.tobytes()


def test_tables_of_coefficients(units):
    rng = np.random.default_rng(0)
    pairs = [(1, 1), (1, 7), (7, 1), (640, 640), (6000, 10), (10, 6000)]
    pairs += [(int(a), int(b)) for a, b in rng.integers(1, 5000, (150, 2))]
    pairs += [(int(a), int(a * b)) for a, b in zip(*rng.uniform(100, 2000, (2, 50)), strict=True)]
    pairs = [(max(a, 1), max(min(b, 9000), 1)) for a, b in pairs]
    found = units("tables", input="".join(f"{a} {b}\n" for a, b in pairs).encode())
    tables = [resize_coefficients(*pair) for pair in pairs]
    expected = b"".join(
        struct.pack("i", table.values.shape[1]) + table.packed().tobytes() for table in tables
    )
    assert found == expected


SIDES = st.integers(1, 20_000)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES), min_size=150, max_size=150))
def test_network_sizes(units, cases):
    lines = units("sizes", input="".join("{} {} {} {}\n".format(*c) for c in cases).encode())
    for (width, height, *fit), line in zip(cases, lines.decode().splitlines(), strict=True):
        prep = Preprocessing(fit=tuple(fit))
        if line.startswith("! "):
            with pytest.raises(ImageError) as error:
                network_size(width, height, prep)
            assert line == f"! {error.value}"
        else:
            new_w, new_h, ratio = line.split()
            size = int(new_w), int(new_h), float.fromhex(ratio)
            assert size == network_size(width, height, prep)


@pytest.mark.parametrize("seed", range(3))
def test_levels_of_pixels(units, seed):
    rng = np.random.default_rng(seed)
    mean, std = rng.uniform(0, 1, 3).tolist(), rng.uniform(0.1, 1, 3).tolist()
    found = units("levels", *map(repr, mean + std))
    assert found == pixel_levels(mean, std).tobytes()
