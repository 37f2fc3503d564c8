"""`--quiet`, and the notes about flags of ODTK that are not needed, which it leaves out."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from synthetic import picture

from odtk_ray.cli.program import cli
from odtk_ray.cli.screen import Console

LEFTOVERS = (
    "note: --master is not needed: Ray connects the processes; --address names a cluster",
    "note: --with-dali is not needed: JPEGs are decoded on the GPU anyway, and resized as models "
    "are trained",
    "note: --with-apex is not needed: GPUs compute in FP16 anyway, unless --full-precision is "
    "given",
)


@pytest.fixture
def photos(tmp_path):
    """Two pictures, one broken file, and annotations of all three."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        picture(seed, 80, 60).save(folder / f"{seed}.jpg")
    (folder / "2.jpg").write_bytes(b"broken")
    document = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 80, "height": 60} for i in range(3)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [9, 9, 30, 30],
                         "area": 900, "iscrowd": 0}],
        "categories": [{"id": i, "name": f"class {i}"} for i in (1, 2, 3)],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def infer(checkpoint, photos, *arguments):
    given = ["--master", "127.0.0.1:29500", "infer", checkpoint, "--images", photos, "--resize", 64,
             "--max-size", 128, "--threads-per-worker", 1, "--output", photos.parent / "o.json",
             "--with-dali", "--with-apex", *arguments]  # fmt: skip
    outcome = CliRunner().invoke(cli, [str(argument) for argument in given])
    assert outcome.exit_code == 3, outcome.output
    return outcome.stdout.splitlines(), outcome.stderr.splitlines()


@pytest.mark.cluster
def test_infer(ray_session, checkpoint, photos):
    out, err = infer(checkpoint, photos)
    assert tuple(err[:3]) == LEFTOVERS
    assert out[0].startswith("done: 3 images, ")
    quiet_out, quiet_err = infer(checkpoint, photos, "--quiet")
    (warning,) = quiet_err
    assert warning.startswith("warning: 1 image failed, first 2.jpg: ")
    assert warning in err
    assert quiet_out == []


@pytest.mark.cluster
def test_figures_are_no_remarks(ray_session, checkpoint, photos):
    given = ("--annotations", photos.parent / "truth.json")
    out, _ = infer(checkpoint, photos, *given)
    quiet, _ = infer(checkpoint, photos, *given, "--quiet")
    assert quiet[0].startswith(" Average Precision  (AP) @[ IoU=0.50:0.95")
    assert quiet == out[:-2]  # all but what the run did, and where that is


def test_export(checkpoint, tmp_path):
    given = ["export", str(checkpoint), str(tmp_path / "m.onnx"), "--size", "64", "--quiet"]
    outcome = CliRunner().invoke(cli, given)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert [line for line in outcome.stderr.splitlines() if not line.startswith("warning: ")] == []
    assert (tmp_path / "m.onnx").exists()


def test_errors_stay(photos, tmp_path):
    given = ["infer", str(tmp_path / "gone.pth"), "--images", str(photos), "--quiet"]
    outcome = CliRunner().invoke(cli, given)
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: cannot use checkpoint ")


def test_the_console(capsys):
    with Console(quiet=True) as console:
        console.note("a note")
        console.begin(10, 0)
        console.progress(5, 0)
        console.end()
        console.warn("a warning")
    assert capsys.readouterr() == ("", "warning: a warning\n")
