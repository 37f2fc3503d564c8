"""`--draw-truth`, `--line-width`, `--crops` and `--classes` through the command line."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from synthetic import picture

from odtk_ray.cli.program import cli

BOX = [20.0, 10.0, 30.0, 25.0]


@pytest.fixture
def few(tmp_path):
    """Two pictures, and an annotation file with a box of each of two classes in the first one."""
    folder = tmp_path / "few"
    folder.mkdir()
    for seed in range(2):
        picture(seed, 80, 60).save(folder / f"{seed}.png")
    document = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(2)],
        "categories": [{"id": i, "name": f"c{i}"} for i in range(4)],
        "annotations": [
            {"id": i, "image_id": 0, "category_id": i, "bbox": BOX, "area": 750, "iscrowd": 0}
            for i in (1, 3)
        ],
    }
    (folder / "truth.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def infer(checkpoint, folder, tmp_path, *arguments):
    given = ["infer", checkpoint, "--images", folder, "--local", "--resize", "64"]
    given += ["--output", tmp_path / "out.json", *arguments]
    return CliRunner().invoke(cli, list(map(str, given)))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_truth_is_drawn_where_it_is_annotated(checkpoint, few, tmp_path):
    with_truth = "--annotations", few / "truth.json", "--draw-threshold", "1", "--draw"
    infer(checkpoint, few, tmp_path, *with_truth, tmp_path / "plain")
    outcome = infer(checkpoint, few, tmp_path, *with_truth, tmp_path / "drawn", "--draw-truth")
    assert outcome.exit_code == 0, outcome.stderr
    different = (pixels(tmp_path / "plain/0.png") != pixels(tmp_path / "drawn/0.png")).any(axis=2)
    rows, columns = np.nonzero(different)
    # 20 to 49 and 10 to 34, both pixels counted, and a pixel of dark edge around
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (19, 50, 9, 35)
    assert not different[12:33, 22:48].any()
    plain, drawn = (pixels(tmp_path / folder / "1.png") for folder in ("plain", "drawn"))
    np.testing.assert_array_equal(plain, drawn)


def test_there_may_be_no_truth_to_draw(checkpoint, few, tmp_path):
    document = json.loads((few / "truth.json").read_text(encoding="utf-8"))
    del document["annotations"]
    (few / "truth.json").write_text(json.dumps(document), encoding="utf-8")
    arguments = "--annotations", few / "truth.json", "--draw", tmp_path / "drawn", "--draw-truth"
    outcome = infer(checkpoint, few, tmp_path, *arguments)
    assert outcome.exit_code == 0
    assert "truth.json has no annotations to draw" in outcome.stderr


def test_crops_are_named_after_the_classes_of_a_file(checkpoint, few, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\ufefftree house\n../car\nü\n\n", encoding="utf-8")
    arguments = "--classes", names, "--crops", tmp_path / "crops", "--draw-threshold", "0"
    outcome = infer(checkpoint, few, tmp_path, *arguments, "--crop-margin", "3")
    assert outcome.exit_code == 0, outcome.stderr
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [c["name"] for c in document["categories"]] == ["tree house", "../car", "ü"]
    rows = [row for row in document["annotations"] if row["image_id"] == 0]
    words = {0: "tree_house", 1: "_car", 2: "ü"}
    names = [f"{n:03d}-{words[row['category_id']]}.png" for n, row in enumerate(rows, 1)]
    # The model finds things in the padding too, of which no picture has a part.
    written = [os.listdir(tmp_path / "crops" / f"{n}.png") for n in range(2)]
    assert written[0]
    assert set(written[0]) <= set(names)
    assert f"crops ({sum(map(len, written))} crops)" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--draw-truth", "--draw", "drawn"], "--draw-truth needs --draw and --annotations"),
        (["--line-width", "2"], "--line-width needs --draw"),
        (["--crop-margin", "2"], "--crop-margin needs --crops"),
        (["--crops", "few"], "--crops few would replace what --images few reads"),
        (["--crops", "."], "has an image of this run"),
        (["--classes", "two.txt"], "--classes two.txt has 2 names, the model 3 classes"),
        (["--classes", "twice.txt"], "--classes twice.txt: lines 1 and 3 are both a"),
        (["--classes", "gap.txt"], "--classes gap.txt: line 2 is empty"),
        (["--classes", "latin.txt"], "cannot read --classes latin.txt: it is not UTF-8 (byte 2)"),
        (["--classes", "gone.txt"], "cannot read --classes gone.txt: No such file or directory"),
        (["--classes", "out.json"], "--output out.json would replace what --classes out.json"),
    ],
)
def test_what_cannot_work_is_refused(checkpoint, few, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.json").write_text("a\nb\nc", encoding="utf-8")
    (tmp_path / "two.txt").write_text("a\nb", encoding="utf-8")
    (tmp_path / "twice.txt").write_text("a\nb\na", encoding="utf-8")
    (tmp_path / "gap.txt").write_text("a\n\nb", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"a\n\xfc\nb\n")
    given = ["infer", str(checkpoint), "--images", "few", "--local", "--output", "out.json"]
    outcome = CliRunner().invoke(cli, given + arguments)
    assert outcome.exit_code == 2, outcome.stderr
    assert message in outcome.stderr
    assert (tmp_path / "out.json").read_text(encoding="utf-8") == "a\nb\nc"


def test_a_resumed_run_has_the_names_that_it_was_begun_with(checkpoint, few, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n", encoding="utf-8")
    arguments = "--classes", names, "--keep-run"
    assert infer(checkpoint, few, tmp_path, *arguments).exit_code == 0
    assert infer(checkpoint, few, tmp_path, *arguments, "--resume").exit_code == 0
    names.write_text("a\nb\nd\n", encoding="utf-8")
    outcome = infer(checkpoint, few, tmp_path, *arguments, "--resume")
    assert outcome.exit_code == 2
    assert "the run was begun with other names of classes" in outcome.stderr


def test_an_export_keeps_the_names_of_a_file(checkpoint, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("tree\ncar\nhouse\n", encoding="utf-8")
    export = ["export", checkpoint, tmp_path / "m.onnx", "--size", "64", "96", "--classes", names]
    outcome = CliRunner().invoke(cli, list(map(str, export)))
    assert outcome.exit_code == 0, outcome.stderr
    told = CliRunner().invoke(cli, ["info", str(tmp_path / "m.onnx")])
    assert "tree, car, house" in told.stdout
    again = ["export", tmp_path / "m.onnx", tmp_path / "m.plan", "--classes", names]
    outcome = CliRunner().invoke(cli, list(map(str, again)))
    assert outcome.exit_code == 2
    assert "--classes is for checkpoints" in outcome.stderr
