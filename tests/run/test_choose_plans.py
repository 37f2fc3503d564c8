"""Which plans of an engine set a run takes."""

from __future__ import annotations

import pytest

from odtk_ray.artifacts.plan_key import Variant
from odtk_ray.config import InferConfig
from odtk_ray.errors import UsageError
from odtk_ray.run.choose_plans import choose_variant

SMALL, LARGE, WIDE = (512, 512), (800, 1280), (512, 800)
ALL = [Variant(name, size) for size in (SMALL, LARGE, WIDE) for name in ("int8", "fp32", "fp16")]


@pytest.mark.parametrize(
    ("variants", "asked", "expected"),
    [
        (ALL, {}, ("fp16", LARGE)),
        (ALL[::-1], {}, ("fp16", LARGE)),
        (ALL, {"precision": "int8"}, ("int8", LARGE)),
        (ALL, {"full_precision": True}, ("fp32", LARGE)),
        (ALL, {"full_precision": True, "precision": "fp32"}, ("fp32", LARGE)),
        (ALL, {"fit": SMALL}, ("fp16", SMALL)),
        (ALL, {"resize": 512}, ("fp16", WIDE)),
        (ALL, {"resize": 512, "max_size": 512}, ("fp16", SMALL)),
        (ALL, {"max_size": 800, "precision": "fp32"}, ("fp32", WIDE)),
        # never INT8 unless it is asked for, or there is nothing else
        ([Variant("int8", LARGE), Variant("fp32", SMALL)], {}, ("fp32", SMALL)),
        ([Variant("int8", LARGE), Variant("fp32", SMALL)], {"fit": LARGE}, ("int8", LARGE)),
        ([Variant("int8", SMALL)], {}, ("int8", SMALL)),
    ],
)
def test_the_best_of_what_was_asked_for(variants, asked, expected):
    assert choose_variant(InferConfig("engines", **asked), variants) == expected


@pytest.mark.parametrize(
    ("asked", "flag", "why"),
    [
        ({"precision": "fp16"}, "--precision", "its plans are 800x1280 INT8, 512x512 FP32"),
        ({"precision": "fp32", "fit": LARGE}, "--fit", "its plans are 512x512 FP32"),
        ({"fit": (64, 64)}, "--fit", "its plans are 800x1280 INT8, 512x512 FP32"),
        ({"resize": 800, "max_size": 1333}, "--max-size", "its plans are 800x1280 INT8"),
        ({"resize": 800, "full_precision": True}, "--resize", "its plans are 512x512 FP32"),
    ],
)
def test_what_the_set_has_not_is_refused(asked, flag, why):
    variants = [Variant("int8", LARGE), Variant("fp32", SMALL)]
    with pytest.raises(UsageError) as error:
        choose_variant(InferConfig("some/engines/", **asked), variants)
    assert error.value.what == f"{flag} contradicts engines"
    assert error.value.why == why
    assert "odtk-ray export MODEL some/engines/ --gpu-type all" in error.value.hint


def test_precisions_are_those_of_sets():
    with pytest.raises(UsageError, match="contradict each other"):
        InferConfig("engines", precision="fp16", full_precision=True)
