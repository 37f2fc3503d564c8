"""A plan and what lies beside it belong together; no TensorRT is needed to see it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from synthetic import ABOUT

from odtk_ray.artifacts.sidecar import Sidecar, read_sidecar, sidecar_path
from odtk_ray.errors import UsageError

GPU = ("NVIDIA H100", "9.0")
PLANS = {"small": b"0123456789", "large": b"9876543210"}  # of one length


@pytest.fixture
def sidecars(tmp_path):
    """Two plans with their sidecars in a folder; what the sidecars say."""
    found = {}
    for batch, (name, plan) in enumerate(PLANS.items(), 1):
        found[name] = Sidecar(
            model=ABOUT, batches=(1, batch, 8), tensorrt="tensorrt 11.4.0", gpu=GPU,
            capabilities=(), plan_sha256=hashlib.sha256(plan).hexdigest(), plan_bytes=len(plan),
        )  # fmt: skip
        (tmp_path / f"{name}.plan").write_bytes(plan)
        (tmp_path / f"{name}.plan.json").write_text(found[name].to_json(), encoding="utf-8")
    return found


def test_a_sidecar_is_read_back(tmp_path, sidecars):
    for name, about in sidecars.items():
        read = read_sidecar(str(tmp_path / f"{name}.plan"), about.plan_sha256)
        # Its model says which ONNX file it was made of: that hash is of no file here.
        assert read == replace(about, model=replace(ABOUT, sha256=read.model.sha256))


def test_plans_and_sidecars_that_were_swapped_are_refused(tmp_path, sidecars):
    one, two = (tmp_path / f"{name}.plan" for name in sidecars)
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    for plan in (one, two):
        with pytest.raises(UsageError, match=f"it is not the plan that {sidecar_path(str(plan))}"):
            read_sidecar(str(plan))


def test_another_plan_than_the_drivers_is_refused(tmp_path, sidecars):
    with pytest.raises(UsageError, match="put the same file on every machine"):
        read_sidecar(str(tmp_path / "small.plan"), sidecars["large"].plan_sha256)


def test_a_plan_that_was_cut_off_is_refused(tmp_path, sidecars):
    plan = tmp_path / "small.plan"
    plan.write_bytes(PLANS["small"][:-1])
    with pytest.raises(UsageError, match="it has 9 bytes and should have 10"):
        read_sidecar(str(plan))


def test_an_edited_sidecar_is_refused(tmp_path, sidecars):
    beside = tmp_path / "small.plan.json"
    beside.write_text(beside.read_text(encoding="utf-8").replace("H100", "A100"), encoding="utf-8")
    with pytest.raises(UsageError, match="is damaged"):
        read_sidecar(str(tmp_path / "small.plan"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batches": [0, 1, 8]}, r"batches\[0\] is 0, not a number from 1 to"),
        ({"batches": [8, 4, 1]}, "batches is \\[8, 4, 1\\], not in rising order"),
        ({"batches": [1, 2, 10**12]}, r"batches\[2\] is 1000000000000, not a number from 1 to"),
        ({"batches": [1, 2]}, "batches is \\[1, 2\\], not a list of 3"),
        ({"gpu": "H100"}, "gpu is 'H100', not a list"),
        ({"workspace": -1}, "workspace is -1, not a number from 0"),
        ({"plan_bytes": "10"}, "plan_bytes is '10', not a whole number"),
        ({"model": [1]}, "model is \\[1\\], not a table"),
        ({"onnx_sha256": 5}, "onnx_sha256 is 5, not text"),
        ({"identity": None}, "it was edited"),
        ({"format": 2}, "its format is 2, and this version reads 1"),
        ({"novel": 1}, "it has an unknown 'novel'"),
    ],
)
def test_what_a_sidecar_cannot_say_is_named(tmp_path, sidecars, changes, message):
    beside = tmp_path / "small.plan.json"
    beside.write_text(
        json.dumps(json.loads(beside.read_text(encoding="utf-8")) | changes), encoding="utf-8"
    )
    with pytest.raises(UsageError, match=message):
        read_sidecar(str(tmp_path / "small.plan"))


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "{}", "null", '{"format": 1}', "\x80"])
def test_other_texts_are_refused(tmp_path, sidecars, text):
    (tmp_path / "small.plan.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="damaged"):
        read_sidecar(str(tmp_path / "small.plan"))


def test_numbers_stay_as_they_were_written(tmp_path, sidecars):
    """A program may give 0 where a float is declared: the sidecar's hash is of that text."""
    about = replace(sidecars["small"], model=replace(ABOUT, post=replace(ABOUT.post, threshold=0)))
    (tmp_path / "small.plan.json").write_text(about.to_json(), encoding="utf-8")
    assert read_sidecar(str(tmp_path / "small.plan")).identity == about.identity
