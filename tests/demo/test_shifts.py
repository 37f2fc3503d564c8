"""Shifts change pictures, each in its own way, and leave boxes alone."""

import numpy as np
import pytest
from PIL import Image
from training.photographs import Photograph
from training.shifts import SHIFTS, shift

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
BOXES = np.array([[3.0, 5, 10, 9]])


def shifted(name, pixels=PIXELS):
    photograph = shift(Photograph(Image.fromarray(pixels), BOXES), name)
    assert photograph.boxes is BOXES
    return np.asarray(photograph.image)


def test_every_shift_is_another_picture_of_the_same_size():
    pictures = [shifted(name) for name in SHIFTS]
    assert {picture.shape for picture in pictures} == {PIXELS.shape}
    assert len({picture.tobytes() for picture in [*pictures, PIXELS]}) == len(SHIFTS) + 1


@pytest.mark.parametrize(
    ("name", "colour", "expected"),
    [
        ("gray", (200, 100, 50), [124, 124, 124]),  # 0.299 * 200 + 0.587 * 100 + 0.114 * 50
        ("cast", (100, 100, 100), [120, 100, 75]),
        ("dim", (128, 255, 0), [74, 255, 0]),  # 255 * (128 / 255)^1.8 = 73.7
        ("flat", (90, 90, 90), [90, 90, 90]),
        ("hue", (90, 90, 90), [90, 90, 90]),
        ("blur", (90, 10, 90), [90, 10, 90]),
    ],
)
def test_shifts_of_one_colour(name, colour, expected):
    assert shifted(name, np.full((8, 8, 3), colour, np.uint8))[4, 4].tolist() == expected


def test_contrast_goes_down_and_up():
    assert shifted("flat").std() < 0.6 * PIXELS.std()
    assert shifted("hard").std() > 1.1 * PIXELS.std()
    assert shifted("blur").std() < 0.6 * PIXELS.std()
