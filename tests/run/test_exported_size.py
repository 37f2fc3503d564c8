"""Whoever runs an exported model learns what it does to the pictures."""

from __future__ import annotations

import pytest
from synthetic import Quiet, make_records

from odtk_ray.config import InferConfig
from odtk_ray.run.exported_size import say_exported_size
from odtk_ray.settings import Preprocessing

SIZES = [(0, 0), (640, 480), (320, 240), (320, 4000)]


def said(prep, sizes=SIZES, **flags):
    reporter = Quiet()
    records = make_records(range(len(sizes)), sizes=sizes)
    say_exported_size(InferConfig("models/m.onnx", **flags), prep, records, reporter)
    return reporter.notes, reporter.warnings


def test_a_small_input_is_a_warning():
    # 640x480: 800 / 480 = 1.67; 320 / 640 = 0.5. 320x4000: 1333 / 4000 = 0.333; 256 / 4000 = 0.064.
    notes, (warning,) = said(Preprocessing(resize=256, max_size=320, fit=(256, 320)))
    assert notes == ["m.onnx scales pictures to fit into 256x320 (height x width)"]
    assert warning == (
        "m.onnx has a small input: 3 of 4 pictures come out at under half the scale of "
        "--resize 800 --max-size 1333 (the first, 000001.jpg, at 0.50 instead of 1.67)\n"
        "  hint: unless the model was trained so, export it with a larger --size"
    )


@pytest.mark.parametrize(
    ("fit", "warned"),
    [((800, 1344), 0), ((400, 534), 0), ((384, 512), 1)],  # 800 / 480 / 2 = 400 / 480
)
def test_half_the_scale_is_the_border(fit, warned):
    notes, warnings = said(Preprocessing(fit=fit), sizes=[(640, 480)])
    assert notes == [f"m.onnx scales pictures to fit into {fit[0]}x{fit[1]} (height x width)"]
    assert len(warnings) == warned


def test_windows_are_scaled_instead_of_pictures():
    prep = Preprocessing(fit=(512, 512), tile=256)  # 2 instead of 3.125
    notes, warnings = said(prep, sizes=[(5000, 5000)])
    assert notes == ["m.onnx scales windows to fit into 512x512 (height x width)"]
    assert warnings == []


@pytest.mark.parametrize(
    ("prep", "flags"),
    [
        (Preprocessing(resize=64), {}),
        (Preprocessing(fit=(64, 96)), {"fit": (64, 96)}),
        (Preprocessing(fit=(64, 96)), {"resize": 64}),
    ],
)
def test_nothing_is_said_to_those_who_gave_the_size(prep, flags):
    assert said(prep, **flags) == ([], [])
