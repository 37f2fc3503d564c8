"""AP of an export against that of its checkpoint, whose own detections are the ground truth."""

from __future__ import annotations

import json
from dataclasses import replace

import onnx
import pytest
from click.testing import CliRunner

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.cli.program import cli
from odtk_ray.exports.check.average_precision import Accuracy, measure_accuracy, read_annotated
from odtk_ray.exports.check.check_export import CheckResult
from odtk_ray.exports.check.compare_detections import PICTURES, DetectionComparison
from odtk_ray.exports.check.runners import open_checkpoint, open_onnx
from odtk_ray.model.checkpoint import load_checkpoint

SIZE = ("--size", "96", "160")


def odtk_ray(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module", params=["ranked", "ranked_rotated"])
def trained(request):
    """An axis-aligned checkpoint, and a rotated one."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("accuracy") / "m.onnx"
    outcome = odtk_ray("export", trained, path, *SIZE)
    assert outcome.exit_code == 0, outcome.output
    return path


@pytest.fixture(scope="module")
def truth(trained, find_truth):
    return find_truth(trained, (96, 160))


def measured(path, trained, photos, truth, reference=True):
    """AP of a file in ONNX Runtime, and of its checkpoint in PyTorch."""
    about = read_exported(path)
    annotated = read_annotated(str(truth), str(photos), about)
    with (
        open_onnx(str(path), about, PICTURES) as exported,
        open_checkpoint(load_checkpoint(trained), about, PICTURES) as other,
    ):
        return measure_accuracy(exported, other if reference else None, about, annotated)


def test_images_that_this_machine_does_not_see_give_no_ap(trained, photos, model, truth, tmp_path):
    """As on a node that builds a plan of a set; the check of a few pictures judges then."""
    about = read_exported(model)
    annotated = read_annotated(str(truth), str(photos), about)
    elsewhere = replace(annotated, paths=[f"{tmp_path}/{path}" for path in annotated.paths])
    with open_onnx(str(model), about, PICTURES) as exported:
        found = measure_accuracy(exported, exported, about, elsewhere)
    assert found.line().startswith("AP is not known: none of the annotated images can be read")
    off = DetectionComparison(4, False, True, "PyTorch", 0.1, 0.1, 1, 2)
    assert CheckResult(off, found).warnings() == CheckResult(off).warnings() != []


def test_an_ap_of_nothing_decides_nothing():
    off = DetectionComparison(4, False, True, "PyTorch", 0.1, 0.1, 1, 2)
    assert (
        CheckResult(off, Accuracy(4, 0.0, 0.0, "PyTorch")).warnings() == CheckResult(off).warnings()
    )


def test_a_good_export_keeps_the_ap(trained, photos, model, truth):
    found = measured(model, trained, photos, truth)
    assert found.images == 8
    assert found.reference > 0.4
    assert found.kept == pytest.approx(1, abs=5e-3)
    kind = "AP by exact polygons" if found.rotated else "AP"
    line = f"{kind} on 8 annotated images: {found.exported:.4f}, PyTorch {found.reference:.4f} ("
    assert found.line().startswith(line)
    alone = measured(model, trained, photos, truth, reference=False)
    assert alone.line() == f"{kind} on 8 annotated images: {found.exported:.4f}"
    assert alone.kept == 1


def test_a_bad_export_does_not(trained, photos, model, truth, tmp_path):
    broken = onnx.load(model)
    (weight,) = (t for t in broken.graph.initializer if t.name == "box_head.8.weight")
    array = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(array * 1.5 + 0.05, weight.name))
    onnx.save(broken, tmp_path / "m.onnx")
    found = measured(tmp_path / "m.onnx", trained, photos, truth)
    assert found.kept < 0.9
    warnings = CheckResult(None, found).warnings()
    assert warnings == [f"AP falls by {1 - found.kept:.1%}: the exported model differs too much"]


def test_export_measures_it_and_counts_what_is_quantised(trained, photos, truth, tmp_path):
    flags = ("--int8", "--calibration-images", photos, "--calibration-batches", 2)
    outcome = odtk_ray("export", trained, tmp_path / "m.onnx", *SIZE, *flags,
                       "--calibration-annotations", truth)  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert " on 8 annotated images" in outcome.output
    # ResNet18 has 20 convolutions, the pyramid 8, each head 5 on each of 5 levels.
    assert "78 convolutions: 78 INT8" in outcome.output
    out = odtk_ray("export", trained, tmp_path / "n.onnx", *SIZE, *flags,
                   "--int8-exclude", "box_head.8*")  # fmt: skip
    assert "78 convolutions: 73 INT8, 5 FP32" in out.output


def test_annotations_need_images_and_boxes(trained, photos, truth, tmp_path):
    flags = (trained, tmp_path / "m.onnx", *SIZE, "--calibration-annotations")
    outcome = odtk_ray("export", *flags, truth)
    assert outcome.exit_code == 2
    assert "--calibration-annotations needs images" in outcome.output
    bare = tmp_path / "bare.json"
    content = json.loads(truth.read_text(encoding="utf-8"))
    del content["annotations"]
    bare.write_text(json.dumps(content), encoding="utf-8")
    outcome = odtk_ray("export", *flags, bare, "--check-images", photos)
    assert outcome.exit_code == 2
    assert "has no ground truth" in outcome.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare.json"]


@pytest.mark.parametrize(
    ("reference", "exported", "kept"), [(0.5, 0.49, 0.98), (0.0, 0.0, 1.0), (0.4, 0.5, 1.25)]
)
def test_what_is_kept(reference, exported, kept):
    assert Accuracy(1, exported, reference).kept == pytest.approx(kept)
