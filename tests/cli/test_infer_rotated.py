"""Rotated models through the command line, from checkpoint to figures and pictures."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
import torch
from in_process import runs_anywhere
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from synthetic import figures
from test_infer import infer, run

import odtk_ray
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.settings import Postprocessing

SHAPE = (128, 128)


@pytest.fixture(scope="module")
def turned(request, rotated_checkpoint, photos, annotations, tmp_path_factory):
    """Ground truth made of the model's own detections, moved and turned a little."""
    folder = tmp_path_factory.mktemp("turned")
    given = ("--images", photos, "--annotations", annotations, "--nms", "0.3")
    with runs_anywhere(request):
        assert infer(rotated_checkpoint, folder, *given).exit_code == 0
    document = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    rng, kept = np.random.default_rng(5), []
    for entry in document["annotations"]:
        box = entry["bbox"] + rng.normal(0, [2, 2, 2, 2, 0.1])
        if min(box[2:4]) > 5 and rng.random() < 0.5:
            outline = corners(box[None]).ravel().tolist()
            more = {"id": len(kept) + 1, "area": box[2] * box[3], "iscrowd": 0}
            kept.append(entry | more | {"bbox": box.tolist(), "segmentation": [outline]})
    path = folder / "turned.json"
    path.write_text(
        json.dumps(json.loads(annotations.read_text(encoding="utf-8")) | {"annotations": kept}),
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def scored(request, rotated_checkpoint, photos, turned, tmp_path_factory):
    """The folder of a run with that ground truth, and what it said."""
    folder = tmp_path_factory.mktemp("scored")
    plain = ("--output", folder / "out.results.json", "--draw", folder / "drawn")
    given = ("--images", photos, "--annotations", turned, "--rotated-bbox")
    with runs_anywhere(request):
        outcome = infer(rotated_checkpoint, folder, *given, *plain)
    assert outcome.exit_code == 0, outcome.stderr
    return folder, outcome.stdout


def test_figures_of_pycocotools_and_exact_ones(photos, turned, scored, capsys):
    folder, said = scored
    truth = COCO(str(turned))
    truth.dataset["info"] = {}
    evaluation = COCOeval(truth, truth.loadRes(str(folder / "out.results.json")), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    capsys.readouterr()
    evaluation.summarize()
    assert said.splitlines()[:12] == capsys.readouterr().out.splitlines()
    metrics = json.loads((folder / "out.metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["stats"].values()) == pytest.approx(evaluation.stats.tolist(), abs=1e-9)
    assert list(metrics["exact"]["stats"]) == list(metrics["stats"])
    # Many boxes reach out of their picture, where masks end and polygons do not.
    assert metrics["exact"]["stats"]["AP50"] > metrics["stats"]["AP50"] > 0.02
    assert "the same by exact polygons, without pixels:" in said
    document = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    assert len(document["annotations"]) > 100
    for row in document["annotations"]:
        outline = corners(np.array([row["bbox"]])).ravel().tolist()
        assert row["segmentation"] == [outline]
        assert -math.pi < row["bbox"][4] <= math.pi
    assert len({round(row["bbox"][4], 3) for row in document["annotations"]}) > 50
    drawn = sorted(path.name for path in (folder / "drawn").iterdir())
    assert drawn == sorted(path.name for path in photos.iterdir())
    before, after = (np.asarray(Image.open(f / "p000.png")) for f in (photos, folder / "drawn"))
    assert before.shape == after.shape


def test_ground_truth_that_lacks_things_is_scored_alike(
    runs, rotated_checkpoint, photos, turned, scored, tmp_path
):
    expected = figures((scored[0] / "out.metrics.json").read_bytes())
    document = json.loads(turned.read_text(encoding="utf-8"))
    for n, entry in enumerate(document["annotations"]):
        if n % 3 == 0:
            del entry["segmentation"], entry["area"]
        elif n % 3 == 1:
            entry["segmentation"] = np.reshape(entry["segmentation"][0], (-1, 2)).tolist()
    third = -(-len(document["annotations"]) // 3)
    # COCO's mask of this one would kill the process.
    far = {"id": 9999, "segmentation": [[0, 0, 1e9, 0, 1e9, 1e9, 0, 1e9]]}
    document["annotations"].append(document["annotations"][0] | far)
    lacking = tmp_path / "lacking.json"
    lacking.write_text(json.dumps(document), encoding="utf-8")
    outcome = infer(rotated_checkpoint, tmp_path, "--images", photos, "--annotations", lacking)
    assert outcome.exit_code == 0
    assert figures((tmp_path / "out.metrics.json").read_bytes()) == expected
    assert (tmp_path / "out.json").exists()
    assert (
        "warning: coordinates are beyond 1,000,000 pixels: 1 annotation, the first has id 9999"
        in outcome.stderr
    )
    assert f"width * height counts: {third} annotations" in outcome.stderr
    assert f"the corners of the box count: {third} annotations" in outcome.stderr
    assert "segmentation of points instead of numbers: read as polygons" in outcome.stderr


@pytest.mark.parametrize("flag", [("--rotated-bbox",), ("--rotated-nms", "odtk")])
def test_a_flag_that_contradicts_the_file_is_one_sentence(checkpoint, photos, tmp_path, flag):
    outcome = infer(checkpoint, tmp_path, "--images", photos, *flag)
    assert outcome.exit_code == 2
    assert outcome.stderr == (
        f"error: {flag[0]} does not fit tiny.pth: "
        "the model has no angles: it detects axis-aligned boxes\n"
    )


def test_info_says_that_a_model_is_rotated(rotated_checkpoint):
    lines = run("info", rotated_checkpoint).stdout.splitlines()
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in lines)
    assert rows["boxes"] == "rotated"
    assert rows["angles"] == "-0.5236, 0, 0.5236"
    assert "legacy (as in all rotated models of ODTK)" in rows["anchors"]


def test_odtks_suppression_on_demand(runs, rotated_checkpoint, photos, turned, scored, tmp_path):
    given = ("--images", photos, "--annotations", turned, "--rotated-nms", "odtk")
    assert infer(rotated_checkpoint, tmp_path, *given).exit_code == 0
    own, odtk = (
        json.loads((f / "out.json").read_text(encoding="utf-8")) for f in (scored[0], tmp_path)
    )
    assert own["images"] == odtk["images"]
    assert own["annotations"] != odtk["annotations"]


def test_a_rotated_model_does_not_change_others_of_its_process(checkpoint, rotated_checkpoint):
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8) for _ in range(2)]

    def engine(path):
        return PyTorchEngine(load_checkpoint(path), Postprocessing(), launch_batch=2)

    plain = engine(checkpoint)
    before = plain.detect(pictures, SHAPE)
    rotated = engine(rotated_checkpoint)
    first = rotated.detect(pictures, SHAPE)
    after = plain.detect(pictures, SHAPE)
    again = rotated.detect(pictures, SHAPE)
    for one, two in ((before, after), (first, again)):
        for a, b in zip(one, two, strict=True):
            assert len(a) > 5
            assert a.boxes.tobytes() == b.boxes.tobytes()
    assert {len(found.boxes[0]) for found in before} == {4}
    for found in first:
        assert found.boxes.shape[1] == 6
        np.testing.assert_allclose(np.hypot(*found.boxes[:, 4:].T), 1, atol=1e-6)


def test_boxes_scale_and_angles_do_not(rotated_checkpoint):
    from odtk_ray.detect.detector import _to_image
    from odtk_ray.engines.protocol import Outcome
    from odtk_ray.images.decode_image import Picture

    pixels = np.random.default_rng(7).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    model = PyTorchEngine(load_checkpoint(rotated_checkpoint), Postprocessing(), launch_batch=1)
    (found,) = model.detect([pixels], SHAPE)
    scaled = _to_image(Picture(pixels, 0.5, 256, 256), Outcome(found)).detections
    assert torch.equal(torch.tensor(scaled.boxes[:, :4]), torch.tensor(found.boxes[:, :4]) * 2)
    assert (scaled.boxes[:, 4:] == found.boxes[:, 4:]).all()


def test_evaluate_says_of_the_files_what_infer_says(scored, turned, tmp_path):
    folder, _ = scored
    target = tmp_path / "again.json"
    odtk_ray.evaluate(
        str(folder / "out.results.json"),
        annotations=str(turned),
        rotated_bbox=True,
        output=str(target),
    )
    again, first = (
        json.loads(path.read_text(encoding="utf-8"))
        for path in (target, folder / "out.metrics.json")
    )
    assert again == {key: first[key] for key in again}
    counts = {"images_failed", "images_missing", "images_left_out"}
    assert set(first) - set(again) == counts | {
        "settings",
        "options",
        "pace",
        "measured_launches",
    }
