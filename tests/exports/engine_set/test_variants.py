"""Several sizes and precisions in one command."""

from __future__ import annotations

import pytest

from odtk_ray.cli.program import cli
from odtk_ray.config import ExportConfig
from odtk_ray.errors import UsageError

SET = {"gpu_type": ("all",)}


def variants(**asked):
    found = ExportConfig("m.pth", "engines", **SET, **asked).variants()
    return [(one.input_size, one.full_precision, one.int8) for one in found]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [((1280, 1280), False, False)]),
        ({"size": (800,)}, [((800, 800), False, False)]),
        ({"size": (800, 1280), "full_precision": True}, [((800, 1280), True, False)]),
        ({"size": (800, 1280, 64, 96, 800, 1280), "int8": True},
         [((800, 1280), False, True), ((64, 96), False, True)]),
        ({"precision": ("int8", "fp16", "fp32", "fp16")},
         [((1280, 1280), False, True), ((1280, 1280), False, False), ((1280, 1280), True, False)]),
        ({"size": (64, 64, 96, 96), "precision": ("fp16", "fp32")},
         [((64, 64), False, False), ((64, 64), True, False),
          ((96, 96), False, False), ((96, 96), True, False)]),
        ({"precision": ("int8",), "int8": True}, [((1280, 1280), False, True)]),
    ],
)  # fmt: skip
def test_each_size_has_each_precision(asked, expected):
    assert variants(**asked) == expected


def test_calibration_is_for_int8_alone():
    config = ExportConfig(
        "m.pth", "engines", **SET, precision=("fp16", "int8"), calibration_images="photos",
        calibration_annotations="a.json", check_images="others", calibration_batches=3,
    )  # fmt: skip
    half, quantised = config.variants()
    assert (half.calibration_images, half.check_images) == (None, "photos")
    assert half.calibration_batches is None
    assert (quantised.calibration_images, quantised.check_images) == ("photos", "others")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"size": (64, 96, 64), **SET}, "--size 64 96 64 has 3 numbers"),
        ({"size": (64, 96, 64, 64)}, "several --size need --gpu-type"),
        ({"precision": ("fp16", "int8")}, "several --precision need --gpu-type"),
        ({"precision": ("fp16",), "output": "m.onnx"}, "--precision is for plans"),
        ({"precision": ("fp16", "int8"), "int8": True, **SET}, "--precision and --int8"),
        ({"precision": ("fp16",), "full_precision": True}, "--precision and --full-precision"),
        ({"precision": ("fp8",), **SET}, "--precision fp8 is unknown"),
    ],
)
def test_what_one_file_cannot_have_is_refused(asked, message):
    with pytest.raises(UsageError, match=message):
        ExportConfig(**{"model": "m.pth", "output": "m.plan"} | asked)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--size 800", (800, 800)),
        ("--size 800 1280", (800, 1280)),
        ("--size 800 --size 512", (800, 800, 512, 512)),
        ("--size 800 1280 --size 512", (800, 1280, 512, 512)),
        ("--size 512 --size 800 1280 --precision fp16", (512, 512, 800, 1280)),
        ("--size=800 --size 512 640", (800, 800, 512, 640)),
    ],
)
def test_a_size_is_one_number_or_two(arguments, expected):
    context = cli.commands["export"].make_context(
        "export", ["m.pth", "engines", "--gpu-type", "all", *arguments.split()]
    )
    assert context.params["size"] == expected
