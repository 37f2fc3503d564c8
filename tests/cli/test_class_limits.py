"""`infer --thresholds` and `--only-classes`: what they keep, in whole, tiled and rotated runs."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from odtk_ray.cli.program import cli

pytestmark = pytest.mark.usefixtures("runs")


def infer(checkpoint, photos, output, *flags):
    arguments = ["infer", checkpoint, "--images", photos, "--output", output, "--resize", "64"]
    arguments += ["--limit", "6", "--threads-per-worker", "1", *flags]
    return CliRunner().invoke(cli, list(map(str, arguments)))


def detections(path):
    """They are numbered anew in each file."""
    rows = json.loads(path.read_text(encoding="utf-8"))["annotations"]
    return [row | {"id": None} for row in rows]


def thresholds_file(folder, limits):
    """A file as `evaluate` writes it, of a model without names: its classes are 0, 1 and 2."""
    classes = [
        {"id": i, "name": str(i), "threshold": limit, "precision": 0.5, "recall": 0.5}
        for i, limit in limits.items()
    ]
    path = folder / "t.json"
    document = {"format": 1, "thresholds_for": "the best F1", "classes": classes}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("model", "flags"),
    [("ranked", []), ("ranked", ["--tile", "64"]), ("ranked_rotated", [])],
)
def test_what_is_kept_is_what_a_run_without_them_finds_above(
    request, photos, tmp_path, model, flags
):
    model = request.getfixturevalue(model)
    assert infer(model, photos, tmp_path / "all.json", *flags).exit_code == 0
    found = detections(tmp_path / "all.json")
    scores = {c: np.array([d["score"] for d in found if d["category_id"] == c]) for c in range(3)}
    assert min(map(len, scores.values())) >= 2
    limits = {c: float(np.median(scores[c])) for c in (0, 2)}
    given = ["--thresholds", thresholds_file(tmp_path, limits)]
    done = infer(model, photos, tmp_path / "some.json", *flags, *given)
    assert done.exit_code == 0, done.output
    assert "1 class has no threshold in" in done.stderr
    expected = [d for d in found if d["score"] > limits.get(d["category_id"], 0)]
    assert detections(tmp_path / "some.json") == expected
    only = ["--only-classes", "0", "--only-classes", "1"]
    assert infer(model, photos, tmp_path / "one.json", *flags, *given, *only).exit_code == 0
    expected = [d for d in expected if d["category_id"] != 2]
    assert detections(tmp_path / "one.json") == expected
    assert len(expected) < len(found)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--only-classes", "cat"],
            "--only-classes cat is no class of the model: it has class 0, class 1, class 2",
        ),
        (["--thresholds", "{folder}/none.json"], "cannot read"),
        (["--thresholds", "{folder}/text.json"], "is not a file of thresholds"),
        (["--thresholds", "{folder}/other.json"], "its format is 7, and this version reads 1"),
        (["--thresholds", "{folder}/t.json"], "has no threshold for any class of the model"),
        (["--thresholds", "{folder}/out.json"], "would replace what --thresholds"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(checkpoint, photos, tmp_path, flags, words):
    thresholds_file(tmp_path, {8: 0.5})
    (tmp_path / "text.json").write_text("cats: 0.5", encoding="utf-8")
    (tmp_path / "other.json").write_text('{"format": 7}', encoding="utf-8")
    flags = [flag.format(folder=tmp_path) for flag in flags]
    done = infer(checkpoint, photos, tmp_path / "out.json", *flags)
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "out.json").exists()


def test_a_resumed_run_keeps_the_same_classes(checkpoint, photos, tmp_path):
    given = ["--only-classes", "0"]
    done = infer(checkpoint, photos, tmp_path / "out.json", *given, "--keep-run")
    assert done.exit_code == 0
    first = (tmp_path / "out.json").read_bytes()
    other = infer(checkpoint, photos, tmp_path / "out.json", "--resume", "--keep-run")
    assert other.exit_code == 2
    assert "--thresholds or --only-classes differs" in other.stderr
    again = infer(checkpoint, photos, tmp_path / "out.json", *given, "--resume")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "out.json").read_bytes() == first
