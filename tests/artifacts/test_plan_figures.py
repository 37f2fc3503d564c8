"""What was measured of the plans of a set: kept with it, and as a table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from synthetic import ABOUT

from odtk_ray.artifacts.engine_set import EngineSet, parse_engine_set
from odtk_ray.artifacts.plan_figures import PlanFigures, plan_table
from odtk_ray.artifacts.plan_key import Variant, key_of
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.errors import UsageError

H100 = Sidecar(
    model=replace(ABOUT, precision="fp16", sha256="cd" * 32), batches=(1, 4, 8),
    tensorrt="tensorrt 11.4.0", gpu=("NVIDIA H100 80GB HBM3", "9.0"), capabilities=(),
    plan_sha256="ef" * 32, plan_bytes=1234,
)  # fmt: skip
A10G = replace(H100, gpu=("NVIDIA A10G", "8.6"))
INT8 = replace(H100, model=replace(H100.model, precision="int8", sha256="ab" * 32))
FIGURES = {
    key_of(H100): PlanFigures(251.4, 1204.26, 8, 0.9984, 0.41234, 0.4128),
    key_of(INT8): PlanFigures(301.0),
}
SET = EngineSet.of([H100, A10G, INT8], FIGURES)


def test_the_table_has_a_line_for_each_plan():
    assert plan_table(SET.engines, SET.figures) == [
        "GPU                                 TensorRT  precision   size  build s   img/s  matched"
        "      AP",
        "NVIDIA A10G (8.6)            tensorrt 11.4.0       fp16  64x96        -       -        -"
        "       -",
        "NVIDIA H100 80GB HBM3 (9.0)  tensorrt 11.4.0       fp16  64x96      251  1204.3    99.8%"
        "  0.4123",
        "NVIDIA H100 80GB HBM3 (9.0)  tensorrt 11.4.0       int8  64x96      301       -        -"
        "       -",
    ]


def test_figures_are_kept_with_the_set_and_do_not_name_it():
    again = parse_engine_set("engines", SET.to_json().encode())
    assert again == SET
    assert again.figures == FIGURES
    without = EngineSet.of([H100, A10G, INT8])
    assert without.figures == {}
    assert without.digest == SET.digest
    assert SET.only(Variant("int8", (64, 96))).figures.keys() == {key_of(INT8)}


WHOLE = json.loads(SET.to_json())["engines"][key_of(H100)]["figures"]


@pytest.mark.parametrize(
    "figures", [None, {}, {"build_seconds": 1}, WHOLE | {"build_seconds": -1}, WHOLE | {"ap": 2}]
)
def test_figures_that_cannot_be_are_refused(figures):
    document = json.loads(SET.to_json())
    document["engines"][key_of(H100)]["figures"] = figures
    with pytest.raises(UsageError, match=r"engines\.json is damaged: .*figures"):
        parse_engine_set("engines", json.dumps(document).encode())
