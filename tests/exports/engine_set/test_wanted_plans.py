"""What an export to an engine set orders, keeps and lists, without a cluster."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest
from machines_for_tests import A10G, ADA, H100, QUADRO, unable
from synthetic import ABOUT, Quiet

from odtk_ray.artifacts.plan_key import key_of
from odtk_ray.cluster.gpu_nodes import GpuNode
from odtk_ray.config import ExportConfig
from odtk_ray.engines.local_gpus import Gpu, Machine
from odtk_ray.engines.tensorrt_package import import_tensorrt, package_version
from odtk_ray.errors import OdtkError
from odtk_ray.exports.check.check_export import CheckData
from odtk_ray.exports.engine_set import engines_json
from odtk_ray.exports.engine_set.build_on_node import build_into, remove_parts
from odtk_ray.exports.engine_set.engines_json import find_plan, list_plans
from odtk_ray.exports.engine_set.wanted_plans import PlanResult, WantedPlan, find_wanted_plans
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.tensorrt.build_plan import PlanOptions
from odtk_ray.exports.tensorrt.export_plan import describe_built
from odtk_ray.exports.tensorrt.plan_source import PlanSource, plan_source
from odtk_ray.settings import Postprocessing

TRT = "tensorrt 11.4.0"
MODEL = replace(ABOUT, sha256="cd" * 32)
SOURCE = PlanSource(b"", MODEL, PlanOptions(), CheckData(MODEL, [], True, None), unable)


def node(i, *found, trt=TRT, kind=""):
    return GpuNode(i, f"10.0.0.{i}", kind, len(found), Machine(found, trt, "" if trt else "none"))


def key(gpu, trt="11.4.0"):
    name = re.sub(" ", "-", gpu.name)
    return f"{name}_sm{gpu.capability.replace('.', '')}_tensorrt-{trt}_fp16_64x96"


@pytest.mark.parametrize(
    ("nodes", "types", "expected"),
    [
        ([], ["all"], {}),
        ([node("1", H100)], ["all"], {key(H100): (("1",), 1)}),
        ([node("1", H100), node("2", H100, H100), node("3", A10G)], [H100.name],
         {key(H100): (("1", "2"), 1)}),
        # two kinds under one of Ray's types, on two nodes
        ([node("1", ADA, kind="RTX-6000"), node("2", QUADRO, kind="RTX-6000")], ["RTX-6000"],
         {key(ADA): (("1",), 1), key(QUADRO): (("2",), 1)}),
        # ... and on one node, which is reserved as a whole unless there is a better one
        ([node("1", ADA, QUADRO, QUADRO), node("2", ADA)], ["all"],
         {key(ADA): (("2",), 1), key(QUADRO): (("1",), 3)}),
        ([node("1", ADA, QUADRO), node("2", QUADRO, ADA), node("3", ADA, ADA, QUADRO)],
         [QUADRO.name], {key(QUADRO): (("1", "2"), 2)}),
        # the same GPU with two versions of TensorRT
        ([node("1", H100), node("2", H100, trt="tensorrt 11.4.1")], ["all"],
         {key(H100): (("1",), 1), key(H100, "11.4.1"): (("2",), 1)}),
    ],
)  # fmt: skip
def test_one_order_for_each_gpu_and_tensorrt(quiet, nodes, types, expected):
    orders, rows = find_wanted_plans(nodes, types, [SOURCE], quiet)
    assert {k: (order.nodes, order.gpus) for k, order in orders.items()} == expected
    assert rows == []


def test_a_gpu_without_tensorrt_fails_unless_another_node_has_it(quiet):
    nodes = [node("1", H100, trt=""), node("2", A10G, trt=""), node("3", A10G)]
    orders, rows = find_wanted_plans(nodes, ["all"], [SOURCE], quiet)
    assert list(orders) == [key(A10G)]
    assert [row.lines() for row in rows] == [[f"failed  {H100}: no TensorRT on 10.0.0.1: none"]]
    assert quiet.warnings == ["no TensorRT on 10.0.0.2, which cannot run plans: none"]


SLICE, LARGER = (Gpu(f"NVIDIA A100-SXM4-40GB MIG {size}", "8.0") for size in ("1g.5gb", "3g.20gb"))


def test_a_slice_of_a_gpu_is_a_kind_of_its_own(quiet):
    whole = Gpu("NVIDIA A100-SXM4-40GB", "8.0")
    nodes = [node("1", whole), node("2", SLICE), node("3", LARGER)]
    orders, rows = find_wanted_plans(nodes, ["all"], [SOURCE], quiet)
    assert [order.nodes for order in orders.values()] == [("1",), ("2",), ("3",)]
    assert key(SLICE) in orders
    assert quiet.notes == [
        f"{gpu} is a slice of a GPU (MIG): its plan runs on slices of this profile only"
        for gpu in (SLICE, LARGER)
    ]
    assert rows == []


def build(folder, about, source, machine):
    """As a task on a node with this machine does it."""
    return build_into(str(folder), about, "tag", lambda _: machine, unable, source)


@pytest.fixture(scope="module")
def one(checkpoint, tmp_path_factory):
    """A plan as a task on a node builds it: folder, and what it was made of."""
    pytest.importorskip("tensorrt_rtx")
    folder = tmp_path_factory.mktemp("one")
    config = ExportConfig(str(checkpoint), "", (64, 96))
    source = plan_source(config, ImageLists(), Quiet())
    trt = package_version(import_tensorrt())
    about = describe_built(source.model, source.options, trt, A10G)
    built, _ = build(folder, about, source, Machine((A10G,), trt))
    assert built.path == str(folder / f"{key_of(about)}.plan")
    assert built.findings() == ["78 convolutions: 78 FP16", "not run here: its GPU is simulated"]
    return folder, source, trt


@pytest.mark.parametrize(
    ("options", "model", "found"),
    [
        ({}, {}, True),
        ({"timing_cache": "x", "verbose": True}, {}, True),
        ({"batches": (1, 1, 8)}, {}, False),
        ({"workspace": 1 << 26}, {}, False),
        ({}, {"sha256": "00" * 32}, False),
        ({}, {"checkpoint": "00" * 32}, False),
        ({}, {"post": Postprocessing(threshold=0.2)}, False),
        ({}, {"version": "0.0.9"}, False),
    ],
)
def test_what_a_plan_depends_on_makes_it_stale(one, options, model, found):
    folder, source, trt = one
    asked = replace(source.options, **options)
    about = describe_built(replace(source.model, **model), asked, trt, A10G)
    assert (find_plan(str(folder), about) is not None) == found


def test_a_plan_that_another_export_has_just_built_is_taken(one):
    folder, source, trt = one
    about = describe_built(source.model, source.options, trt, A10G)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert build(folder, about, source, Machine((A10G,), trt))[0] is None
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_plan_that_another_export_replaced_is_not_listed(one, monkeypatch, quiet):
    """With other settings, under the same key, after this export had built its own."""
    folder, source, trt = one
    monkeypatch.setattr(engines_json, "_LOOKS", 1)
    asked = replace(source, options=replace(source.options, batches=(1, 1, 8)))
    about = describe_built(source.model, asked.options, trt, A10G)
    orders = {key_of(about): WantedPlan(about, ("1",), 1, asked)}
    rows = [PlanResult(key_of(about), "built", 1.0)]
    engines, final = list_plans(str(folder), orders, rows, [asked], quiet)
    assert engines is None
    assert [row.state for row in final] == ["failed"]
    assert "another export writes there" in final[0].lines()[0]
    assert not (folder / "engines.json").exists()


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (lambda trt: Machine((H100,), trt), "it now has NVIDIA H100 80GB HBM3"),
        (lambda trt: Machine((), trt), "it now has no GPU and"),
        (lambda _: Machine((A10G,), "tensorrt 0.1"), "and tensorrt 0.1"),
        (lambda trt: Machine((LARGER,), trt), r"MIG 3g.20gb .*\n.*must all have one profile"),
    ],
)
def test_a_node_that_has_changed_builds_nothing(one, tmp_path, machine, message):
    _, source, trt = one
    about = describe_built(source.model, source.options, trt, A10G)
    with pytest.raises(OdtkError, match=message):
        build(tmp_path, about, source, machine(trt))
    with pytest.raises(OdtkError, match="its node has no folder"):
        build(tmp_path / "x", about, source, machine(trt))
    assert os.listdir(tmp_path) == []


def test_parts_of_killed_builds_are_removed_and_nothing_else(tmp_path):
    for name in ("k.plan", "k.plan.json", "k.plan.tag.tmp", "k.plan.json.tag.tmp",
                 "k.plan.other.tmp", "m_01.timing.tag.tmp", "l.plan.tag.tmp"):  # fmt: skip
        (tmp_path / name).write_text("", encoding="utf-8")
    remove_parts(str(tmp_path), "tag")
    assert sorted(os.listdir(tmp_path)) == ["k.plan", "k.plan.json", "k.plan.other.tmp"]
