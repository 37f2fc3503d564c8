"""The pages on ODTK: proofs.md names tests that are there, move_from_odtk.md has every flag.

And what no other test shows of ODTK's guide.
"""

from __future__ import annotations

import re

import click
import pytest
from documents import ROOT

from odtk_ray.cli.command import values_of
from odtk_ray.cli.export import export
from odtk_ray.cli.odtk_leftovers import odtk_flags, odtk_master
from odtk_ray.config import ExportConfig, InferConfig
from odtk_ray.exports.tensorrt.build_plan import PlanOptions
from odtk_ray.options import options_of

TEXT = (ROOT / "docs" / "proofs.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!ODTK's guide|---)(.+?) \| (.+) \|$", TEXT, re.MULTILINE)
TESTS = sorted(set(re.findall(r"`(tests/[^`]+)`", TEXT)))


def test_there_are_statements():
    assert len(ROWS) >= 30


@pytest.mark.parametrize(("statement", "proof"), ROWS, ids=lambda text: text[:40])
def test_each_statement_has_a_test_or_the_reason_for_none(statement, proof):
    assert re.search(r"`tests/\S+::test_\w+`|\*\*not shown\*\*", proof), statement


@pytest.mark.parametrize("test", TESTS)
def test_a_named_test_is_there(test):
    path, _, name = test.partition("::")
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(", source, re.MULTILINE)
    assert (f"**gpu** `{test}`" in TEXT) is path.startswith("tests/gpu/")


def test_every_flag_of_odtk_is_on_its_page():
    """Those that the options declare as ODTK's, and those that are accepted and do nothing."""
    page = (ROOT / "docs" / "move_from_odtk.md").read_text(encoding="utf-8")
    table = page.partition("## Every flag")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `(--[a-z0-9-]+)`", table, re.MULTILINE)) | {"--no-apex"}
    declared = {
        option.flag
        for settings in (InferConfig, ExportConfig)
        for option in options_of(settings).values()
        if option.option.in_odtk
    }
    ignored = odtk_master(odtk_flags(click.Command("infer", params=[]))).params
    assert listed == declared | {option.opts[0] for option in ignored}


@pytest.mark.parametrize(
    ("flags", "size"),
    [([], (1280, 1280)), (["--size", "640"], (640, 640)), (["--size", "800", "1280"], (800, 1280))],
)
def test_one_number_is_a_square_and_1280_the_default(flags, size):
    flags = export.make_context("export", ["model.pth", "model.plan", *flags]).params
    flags.pop("debug")
    assert ExportConfig(**values_of(ExportConfig, flags)).input_size == size


def test_defaults_of_an_export():
    assert PlanOptions().precision == "fp16"
    assert PlanOptions().batches == (1, 1, 16)
    texts = {name: option.default_text for name, option in options_of(ExportConfig).items()}
    assert texts["dynamic_batch_opts"] == "1 1 16"
    assert (texts["calibration_batches"], texts["calibration_batch_size"]) == ("10", "2")
