"""AP of an export against that of its checkpoint, whose own detections are the ground truth."""

from __future__ import annotations

import json

import onnx
import pytest
from click.testing import CliRunner

from odtk_ray.cli import cli
from odtk_ray.export.accuracy import Accuracy, measure_accuracy
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.exported import read_exported

SIZE = ("--size", "96", "160")


def odtk_ray(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("accuracy") / "m.onnx"
    outcome = odtk_ray("export", checkpoint, path, *SIZE)
    assert outcome.exit_code == 0, outcome.output
    return path


@pytest.fixture(scope="module")
def truth(checkpoint, photos, tmp_path_factory, ray_session):
    """What the checkpoint finds, as ground truth.

    Its AP is not 1: random weights give many boxes that clipping inverts, which are none to find.
    """
    folder = tmp_path_factory.mktemp("truth")
    outcome = odtk_ray("infer", checkpoint, "--images", photos, "--fit", "96", "160",
                       "--threshold", "0.4", "--output", folder / "d.json", "--limit", "8",
                       "--workers", "1", "--threads-per-worker", "1")  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    content = json.loads((folder / "d.json").read_text())
    for number, annotation in enumerate(content["annotations"]):
        annotation |= {"id": number + 1, "iscrowd": 0}
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    content["categories"] = [{"id": i, "name": str(i)} for i in range(3)]
    path = folder / "truth.json"
    path.write_text(json.dumps(content))
    return path


def test_a_good_export_keeps_the_ap(checkpoint, photos, model, truth):
    loaded, about = load_checkpoint(checkpoint), read_exported(model)
    found = measure_accuracy(str(model), loaded, about, str(photos), str(truth))
    assert found.images == 8
    assert found.reference > 0.5
    assert found.kept == pytest.approx(1, abs=5e-3)
    assert "AP on 8 annotated images" in found.line()


def test_a_bad_export_does_not(checkpoint, photos, model, truth, tmp_path):
    broken = onnx.load(model)
    (weight,) = (t for t in broken.graph.initializer if t.name == "box_head.8.weight")
    array = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(array * 1.5 + 0.05, weight.name))
    onnx.save(broken, tmp_path / "m.onnx")
    path = str(tmp_path / "m.onnx")
    loaded, about = load_checkpoint(checkpoint), read_exported(path)
    found = measure_accuracy(path, loaded, about, str(photos), str(truth))
    assert found.kept < 0.9


def test_export_measures_it_and_counts_what_is_quantised(checkpoint, photos, truth, tmp_path):
    flags = ("--int8", "--calibration-images", photos, "--calibration-batches", 2)
    outcome = odtk_ray("export", checkpoint, tmp_path / "m.onnx", *SIZE, *flags,
                       "--calibration-annotations", truth)  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert "AP on 8 annotated images" in outcome.output
    # ResNet18 has 20 convolutions, the pyramid 8, each head 5 on each of 5 levels.
    assert "78 of 78 convolutions in INT8" in outcome.output
    out = odtk_ray("export", checkpoint, tmp_path / "n.onnx", *SIZE, *flags,
                   "--int8-exclude", "box_head.8*")  # fmt: skip
    assert "73 of 78 convolutions in INT8" in out.output


def test_annotations_need_images_and_boxes(checkpoint, photos, truth, tmp_path):
    flags = (checkpoint, tmp_path / "m.onnx", *SIZE, "--calibration-annotations")
    outcome = odtk_ray("export", *flags, truth)
    assert outcome.exit_code == 2
    assert "--calibration-annotations needs images" in outcome.output
    bare = tmp_path / "bare.json"
    content = json.loads(truth.read_text())
    del content["annotations"]
    bare.write_text(json.dumps(content))
    outcome = odtk_ray("export", *flags, bare, "--check-images", photos)
    assert outcome.exit_code == 2
    assert "has no ground truth" in outcome.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare.json"]


@pytest.mark.parametrize(
    ("reference", "exported", "kept"), [(0.5, 0.49, 0.98), (0.0, 0.0, 1.0), (0.4, 0.5, 1.25)]
)
def test_what_is_kept(reference, exported, kept):
    assert Accuracy(1, reference, exported).kept == pytest.approx(kept)
