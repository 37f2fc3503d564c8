"""The end of a plan's export: real builds, comparisons and figures; the GPU is ONNX Runtime.

`tests/gpu/test_gpu_plan_check.py` has the GPU itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from effort import long_case
from standins_for_tests import half, overflow, spoil, standing_in
from synthetic import Quiet

from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.config import ExportConfig
from odtk_ray.exports.check.check_export import Unavailable
from odtk_ray.exports.tensorrt.export_plan import export_plan

SIZE = (96, 160)


@pytest.fixture(scope="module", params=["checkpoint", long_case("ranked_rotated")])
def source(request, photos, tmp_path_factory):
    """A checkpoint and its ONNX file."""
    from odtk_ray.exports.onnx.export_onnx import export

    checkpoint = request.getfixturevalue(request.param)
    path = tmp_path_factory.mktemp("source") / "m.onnx"
    export(ExportConfig(str(checkpoint), str(path), size=SIZE), Quiet())
    return checkpoint, path


def built(model, folder, opened, **options):
    """The summary's lines of a real build for a GPU that is not here, and what was reported."""
    settings = {"compute_capability": ("8.9",), "size": SIZE} | options
    quiet = Quiet()
    plan = export_plan(ExportConfig(str(model), str(folder / "m.plan"), **settings), quiet, opened)
    return plan, plan.lines(), quiet.warnings


@pytest.mark.parametrize(("kind", "name"), [(0, "PyTorch"), (1, "ONNX Runtime")])
def test_a_plan_is_compared_with_what_it_was_made_of(rtx, source, photos, tmp_path, kind, name):
    opened = standing_in(source[1], half)
    plan, lines, warnings = built(source[kind], tmp_path, opened, check_images=str(photos))
    wrote, bound, layers, checked, *_, after = lines
    assert "96x160, FP16, batch 1 to 16" in wrote
    assert bound == f"for 8.9, with tensorrt_rtx {rtx.__version__}"
    assert layers == "layers by precision: 1 FP16; 1 convolution: 1 FP16; 1 reformat"
    found = re.fullmatch(
        rf"checked against {name} on 4 pictures: scores within (\S+), box deltas within (\S+), "
        r"(\d+) of (\d+) detections matched", checked)  # fmt: skip
    scores, deltas = map(float, found.groups()[:2])
    assert 0 < scores < 0.5  # FP16 moves them, and the tiny model's logits are large
    assert deltas > 0
    check = plan.check_result.comparison
    assert (check.matched, check.counted) == tuple(map(int, found.groups()[2:]))
    assert check.counted > 20
    assert after == f"next: odtk-ray infer {tmp_path / 'm.plan'} --images DIR"
    assert bool(warnings) == (check.share < 0.97)


def test_the_same_graph_matches(rtx, source, tmp_path):
    plan, _, warnings = built(source[1], tmp_path, standing_in(source[1]))
    check = plan.check_result.comparison
    assert (check.scores, check.deltas) == (0, 0)
    assert check.matched == check.counted > 20
    assert check.made_up
    assert warnings == []


def test_a_plan_that_is_off_is_warned_of(rtx, source, photos, tmp_path):
    opened = standing_in(source[1], spoil)
    plan, _, warnings = built(source[1], tmp_path, opened, check_images=str(photos))
    share = plan.check_result.comparison.share
    assert share < 0.97
    assert warnings == [
        f"only {share:.1%} of the detections match ONNX Runtime's: the exported model differs too "
        "much (--calibration-annotations measures AP)"
    ]
    assert (tmp_path / "m.plan").exists()


def test_outputs_that_are_not_finite_are_warned_of(rtx, source, tmp_path):
    opened = standing_in(source[1], overflow)
    _, _, warnings = built(source[1], tmp_path, opened)
    assert warnings == ["some outputs of the exported model are not finite"]


@pytest.fixture(scope="module")
def truth(source, find_truth):
    return find_truth(source[0], SIZE)


@pytest.mark.parametrize(("change", "kept"), [(lambda model: None, True), (spoil, False)])
def test_ap_decides_where_there_are_annotations(rtx, source, photos, truth, tmp_path, change, kept):
    plan, lines, warnings = built(
        source[0], tmp_path, standing_in(source[1], change), check_images=str(photos),
        calibration_annotations=str(truth),
    )  # fmt: skip
    accuracy = plan.check_result.accuracy
    assert accuracy.images == 8
    assert accuracy.name == "PyTorch"
    assert accuracy.reference > 0.4
    assert accuracy.rotated == plan.about.model.rotated
    assert accuracy.line() in lines
    off = [f"AP falls by {1 - accuracy.kept:.1%}: the exported model differs too much"]
    assert warnings == ([] if kept else off)


def test_ap_without_a_reference_is_said_and_judges_nothing(
    rtx, source, photos, truth, tmp_path, monkeypatch
):
    opened = standing_in(source[1], spoil)
    monkeypatch.setattr("odtk_ray.exports.check.runners.open_onnx", no_reference)
    plan, lines, warnings = built(
        source[1], tmp_path, opened, check_images=str(photos), calibration_annotations=str(truth)
    )
    assert plan.check_result.accuracy.reference is None
    assert plan.check_result.accuracy.line() in lines
    assert warnings == []


def no_reference(path, about, batch):
    raise Unavailable("ONNX Runtime is not installed")


@pytest.mark.parametrize(
    ("missing", "why"),
    [("onnxruntime", "ONNX Runtime is not installed"),
     ("torch", "PyTorch, which decodes ONNX Runtime's outputs, is missing")],
)  # fmt: skip
def test_what_is_missing_is_said(rtx, source, tmp_path, monkeypatch, missing, why):
    """The plan still has to run; the stand-in keeps what it imported."""
    opened = standing_in(source[1])

    @contextmanager
    def forgetful(path, about, batch):
        with opened(path, about, batch) as running:
            running.raw, running.detect = outputs_of(running)
            monkeypatch.setitem(sys.modules, missing, None)
            yield running

    def outputs_of(running):
        from odtk_ray.exports.check.compare_detections import check_pictures
        from odtk_ray.exports.image_lists import ImageLists

        pictures = check_pictures(None, SIZE, ImageLists())
        raw, found = running.raw(pictures, SIZE), running.detect(pictures, SIZE)
        return (lambda *_: raw), (lambda *_: found)

    plan, lines, warnings = built(source[1], tmp_path, forgetful)
    line = f"it runs: its outputs are finite on 2 made-up pictures; not compared: {why}"
    assert line in lines
    assert warnings == []
    assert plan.layers.counts == {"FP16": 1}


WITHOUT_TORCH = """
import sys
for name in ("torch", "onnxruntime", "ray"):
    sys.modules[name] = None
from contextlib import contextmanager
from odtk_ray.config import ExportConfig
from odtk_ray.exports.tensorrt.export_plan import export_plan
from odtk_ray.records import Detections
from plain_network import PlainNetwork
from synthetic import Quiet
import numpy as np

network = PlainNetwork(True)
network.save("m.onnx")
network.information = lambda: "{}"
raw = network.raw
network.raw = lambda pictures, shape: raw(pictures)
box = np.array([[10, 20, 60, 50, 0.6, 0.8]], np.float32)
found = Detections(np.array([0.9], np.float32), box, np.array([0], np.int32))
network.detect = lambda pictures, shape: [found] * len(pictures)

@contextmanager
def opened(path, about, batch):
    yield network

photos, truth = sys.argv[1:]
config = ExportConfig("m.onnx", "m.plan", size=(128, 128), compute_capability=("8.9",),
                      check_images=photos, calibration_annotations=truth)
print("\\n".join(export_plan(config, Quiet(), opened).lines()))
"""


def test_the_check_and_ap_need_no_torch(rtx, photos, annotations, tmp_path):
    """Only the GPU is missing; numpy stands in for it."""
    document = json.loads(annotations.read_text(encoding="utf-8"))
    document["categories"] = [{"id": i, "name": n} for i, n in ((3, "cat"), ("b", "dög"))]
    for entry in document["annotations"]:
        entry["category_id"] = 3
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(document), encoding="utf-8")
    tests = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, photos, truth],
        env=os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    lines = run.stdout.splitlines()
    assert lines[2] == "11 convolutions: 11 FP16"
    assert lines[3] == (
        "it runs: its outputs are finite on 4 pictures; not compared: ONNX Runtime is not installed"
    )
    assert lines[4].startswith("AP by exact polygons on 26 annotated images: 0.")


def test_a_plan_that_cannot_run_here_has_the_graphs_layers(rtx, source, tmp_path):
    def refusing(path, about, batch):
        raise Unavailable("this machine has no GPU")

    _, lines, warnings = built(source[1], tmp_path, refusing)
    assert lines[2:4] == ["78 convolutions: 78 FP16", "not run here: this machine has no GPU"]
    assert warnings == []


def test_a_failing_check_leaves_the_plan(rtx, source, tmp_path):
    """Minutes of building are not thrown away because of what comes after."""

    def broken(path, about, batch):
        raise RuntimeError("the GPU fell off")

    with pytest.raises(RuntimeError, match="fell off"):
        built(source[1], tmp_path, broken)
    assert read_sidecar(str(tmp_path / "m.plan")).batches == (1, 1, 16)
