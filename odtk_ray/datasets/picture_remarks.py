"""Checks of single pictures that a run and `odtk-ray doctor` share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from odtk_ray.datasets.problems import Problem
from odtk_ray.records import Traits

_LOW = 1 << 12  # 12-bit values: of the upper 8 of 16 bits, which a picture keeps, they use 4


def stated_size(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return the (width, height) of an entry of `images`; 0 0 where it has no usable ones."""
    width, height = (v if type(v) is int else 0 for v in (entry.get("width"), entry.get("height")))
    return (width, height) if min(width, height) > 0 and max(width, height) < 2**31 else (0, 0)


def picture_problems(
    stated: tuple[int, int], size: tuple[int, int], traits: Traits
) -> Iterator[tuple[Problem, str]]:
    """Yield what is odd about a picture, with details.

    Args:
        stated: (width, height) that the annotation file has, 0 0 where it has none.
        size: (width, height) of the picture.
        traits: of the picture.
    """
    sideways = traits.orientation >= 5 and size[::-1] == stated != size
    if traits.orientation != 1:
        sides = ", width and height are swapped in the annotation file" if sideways else ""
        yield Problem.EXIF, f"orientation {traits.orientation}{sides}"
    if stated not in ((0, 0), size) and not sideways:
        here, there = (f"{width}x{height}" for width, height in (stated, size))
        yield Problem.SIZE, f"{here} in the annotation file, {there} in the image file"
    if traits.peak is not None and 0 < traits.peak < _LOW:
        yield Problem.LOW_BITS, f"largest value {traits.peak} of 65535"
