"""Counted nouns."""

import pytest

from odtk_ray.plural import counted


@pytest.mark.parametrize(
    ("count", "nouns", "expected"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1234, ("image",), "1,234 images"),
        (1, ("class", "classes"), "1 class"),
        (3, ("class", "classes"), "3 classes"),
        (1, ("image has", "images have"), "1 image has"),
    ],
)
def test_counted(count, nouns, expected):
    assert counted(count, *nouns) == expected
