"""`odtk-ray infer --update` through the command line, with a network."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from effort import long_case
from synthetic import figures, picture
from test_infer import infer, run

OUTPUTS = ("out.json", "out.results.json", "out.jsonl", "out.csv", "out.parquet")


@pytest.fixture
def images(photos, tmp_path):
    return shutil.copytree(photos, tmp_path / "images")


def whole(checkpoint, folder, *arguments):
    """A run with outputs of all kinds in a folder of their own."""
    folder.mkdir(exist_ok=True)
    outputs = [folder / name for name in OUTPUTS[1:]]
    outcome = infer(checkpoint, folder, *arguments, "--output", *outputs)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome.stdout.splitlines()


@pytest.mark.parametrize("more", [
    (),
    ("--tile", "64", "--overlap", "16"),
    ("--rotated-bbox",),
    long_case(("--rotated-bbox", "--tile", "64")),
])  # fmt: skip
def test_an_update_has_the_bytes_of_a_run_over_all(
    checkpoint, rotated_checkpoint, images, tmp_path, more
):
    for path in sorted(images.iterdir())[10:]:
        path.unlink()
    model = rotated_checkpoint if "--rotated-bbox" in more else checkpoint
    arguments = ("--images", images, "--local", *more)
    whole(model, tmp_path / "a", *arguments, "--keep-run")
    picture(100, 140, 90).save(images / "p003.jpg")
    picture(101, 200, 100).save(images / "p0075.jpg")
    (images / "p009.jpg").unlink()
    again = ("--update", tmp_path / "a" / "out.json")
    done, of_these, _ = whole(model, tmp_path / "b", *arguments, *again)
    assert re.match(r"done: 10 images, [\d,]+ detections, 0 failed", done)
    assert of_these == "of the images 1 new, 1 changed, 8 reused, 1 gone"
    whole(model, tmp_path / "c", *arguments)
    for name in OUTPUTS:
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_ids_and_figures_follow_the_annotation_file(
    runs, checkpoint, images, annotations, tmp_path
):
    """Which is another one now: fewer images, another order, other boxes."""
    document = json.loads(annotations.read_text(encoding="utf-8"))
    file = tmp_path / "boxes.json"
    few = {**document, "images": document["images"][:20]}
    named = {image["id"] for image in few["images"]}
    few["annotations"] = [box for box in document["annotations"] if box["image_id"] in named]
    file.write_text(json.dumps(few), encoding="utf-8")
    arguments = ("--images", images, "--annotations", file, "--workers", "2")
    (tmp_path / "a").mkdir()
    assert infer(checkpoint, tmp_path / "a", *arguments, "--keep-run").exit_code == 0
    document["images"] = document["images"][::-2]
    kept = {image["id"] for image in document["images"]}
    document["annotations"] = [b for b in document["annotations"] if b["image_id"] in kept]
    file.write_text(json.dumps(document), encoding="utf-8")
    for name, more in (("b", ("--update", tmp_path / "a" / "out.json")), ("c", ())):
        (tmp_path / name).mkdir()
        outcome = infer(checkpoint, tmp_path / name, *arguments, *more)
        assert outcome.exit_code == 0, outcome.stderr
        if more:
            assert "of the images 3 new, 0 changed, 10 reused, 10 gone" in outcome.stdout
    updated, fresh = ((tmp_path / name / "out.json").read_bytes() for name in "bc")
    assert updated == fresh
    updated, fresh = ((tmp_path / name / "out.metrics.json").read_bytes() for name in "bc")
    assert figures(updated) == figures(fresh)
    assert json.loads(updated)["settings"] == json.loads(fresh)["settings"]


@pytest.mark.cluster
def test_workers_on_ray_do_what_is_new(ray_session, checkpoint, images, tmp_path):
    given = ("--images", images, "--workers", "2", "--batch", "4")
    arguments = (*given, "--update", tmp_path / "out.json")
    assert infer(checkpoint, tmp_path, *arguments).exit_code == 0  # the first in place
    for seed in range(100, 140):
        picture(seed, 90, 70).save(images / f"n{seed}.jpg")
    outcome = infer(checkpoint, tmp_path, *arguments)
    assert "of the images 40 new, 0 changed, 26 reused, 0 gone" in outcome.stdout
    (tmp_path / "all").mkdir()
    assert infer(checkpoint, tmp_path / "all", *given).exit_code == 0
    updated, fresh = (tmp_path / "out.json"), (tmp_path / "all" / "out.json")
    assert updated.read_bytes() == fresh.read_bytes()
    assert run("status", tmp_path / "out.json.run").exit_code == 0
