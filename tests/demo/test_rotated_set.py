"""The held-out set and its report: other photographs, exact boxes, the same for the same seed."""

import importlib
import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from training.scenes import Style, draw_scene

from odtk_ray.checks.annotations import examine


@pytest.fixture
def jobs():
    names = ("rotated_set", "rotated_report", "demo_models", "run", "wheels")
    return {name: importlib.import_module(name) for name in names}


@pytest.fixture
def data(tmp_path, jobs):
    """Three pictures with the names of the photographs."""
    (tmp_path / "data" / "photos").mkdir(parents=True)
    for seed, name in enumerate(jobs["rotated_set"].HELD_OUT):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
        image = Image.fromarray(pixels).resize((450, 400))
        image.save(tmp_path / "data" / "photos" / name)
    return tmp_path / "data"


def make(jobs, data, output, *options):
    arguments = ["--data", str(data), "--output", str(output), "--images", "4", *options]
    result = CliRunner().invoke(jobs["rotated_set"].main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads((output / "scenes.json").read_text(encoding="utf-8"))


def test_no_held_out_photograph_is_trained_on(jobs):
    assert not set(jobs["rotated_set"].HELD_OUT) & set(jobs["demo_models"].PHOTOGRAPHS)
    assert jobs["rotated_set"].SEED != jobs["demo_models"].Shapes.SEED


def test_doctor_finds_nothing_to_say(jobs, data, tmp_path):
    content = make(jobs, data, tmp_path / "set")
    scenes = tmp_path / "set" / "scenes"
    report = examine(f"{scenes}.json", str(scenes), rotated=True)
    assert report.healthy
    assert list(report.findings) == []
    assert report.turned == len(content["annotations"]) >= 40
    assert [entry["name"] for entry in content["categories"]] == ["bar", "leaf", "wedge", "bone"]


def test_pictures_and_boxes_are_those_of_the_generator(jobs, data, tmp_path):
    content = make(jobs, data, tmp_path / "set")
    photographs = jobs["rotated_set"].read_held_out(data)
    for index, image in enumerate(content["images"]):
        scene = draw_scene([photographs[index % 3]], Style(), jobs["rotated_set"].SEED, index)
        with Image.open(tmp_path / "set" / "scenes" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (640, 640)
            assert np.array_equal(np.asarray(picture), scene.pixels)
        own = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        assert np.array_equal([a["bbox"] for a in own], scene.boxes)
        assert [a["category_id"] - 1 for a in own] == scene.classes.tolist()
        assert [a["hidden"] for a in own] == scene.hidden.round(4).tolist()
        assert all(a["area"] == a["bbox"][2] * a["bbox"][3] for a in own)
    assert len({a["id"] for a in content["annotations"]}) == len(content["annotations"])


def test_the_seed_decides(jobs, data, tmp_path):
    first = make(jobs, data, tmp_path / "1")
    assert make(jobs, data, tmp_path / "2") == first
    assert make(jobs, data, tmp_path / "3", "--seed", "5") != first
    for number in range(1, 5):
        name = f"scenes/{number:04d}.png"
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_what_is_missing_is_taken_from_the_wheel(jobs, data, monkeypatch):
    """The wheel is found in the folder; nothing is fetched."""
    job, demo = jobs["rotated_set"], jobs["run"]
    expected = [np.asarray(image) for image in job.read_held_out(data)]
    path = data / "wheels" / demo.PHOTOGRAPHS.file
    with zipfile.ZipFile(path, "w") as archive:
        for name in job.HELD_OUT:
            archive.write(data / "photos" / name, f"{demo.PHOTOGRAPH_FOLDER}/{name}")
    own = jobs["wheels"].Wheel("deepforest", "2.1.0", path.name, jobs["wheels"]._sha256(path))
    monkeypatch.setattr(job, "PHOTOGRAPHS", own)
    for name in job.HELD_OUT[1:]:
        (data / "photos" / name).unlink()
    found = job.read_held_out(data)
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    assert all((data / "photos" / name).exists() for name in job.HELD_OUT)


def results(content, turn=0.0):
    return [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "score": 0.9 - 0.0001 * a["id"],
            "bbox": [*a["bbox"][:4], a["bbox"][4] + turn],
        }
        for a in content["annotations"]
    ]


def judge(jobs, tmp_path, rows):
    path = tmp_path / "found.results.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    arguments = [str(path), "--annotations", str(tmp_path / "set" / "scenes.json")]
    return CliRunner().invoke(jobs["rotated_report"].main, arguments)


def test_the_report_of_detections_that_are_known(jobs, data, tmp_path):
    content = make(jobs, data, tmp_path / "set")
    result = judge(jobs, tmp_path, results(content, turn=np.radians(1)))
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split() for line in result.output.splitlines()}
    assert float(lines["as"][3]) == 1  # AP50
    assert float(lines["theta"][4]) < 0.5
    for name in ("bar", "leaf", "wedge", "bone"):
        assert float(lines[name][2]) == 1
    count = len(content["annotations"])
    assert f"median angle error 1.00 degrees over {count:,} matches" in result.output


def test_the_report_without_detections_and_without_angles(jobs, data, tmp_path):
    content = make(jobs, data, tmp_path / "set")
    result = judge(jobs, tmp_path, [])
    assert result.exit_code == 0
    assert "median" not in result.output
    upright = [row | {"bbox": row["bbox"][:4]} for row in results(content)]
    result = judge(jobs, tmp_path, upright)
    assert result.exit_code == 1
    assert "have 4 numbers, not 5" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[1, 2]", "the top level is an array"),
        (b'"text"', "not JSON"),
        (b'{"images": [], "categories": null}', "its `categories` is not a list"),
        (b'{"images": [3], "categories": []}', "an entry of `images` is not an object"),
        (b'{"images": [{}], "categories": []}', "neither text nor a whole number"),
        (b'{"images": "\xff"}', "not UTF-8"),
        (b"", "the file is empty"),
    ],
)
def test_annotations_that_cannot_be_used_are_one_sentence(jobs, tmp_path, content, words):
    results, annotations = tmp_path / "found.json", tmp_path / "a.json"
    results.write_text("[]", encoding="utf-8")
    annotations.write_bytes(content)
    given = [str(results), "--annotations", str(annotations)]
    outcome = CliRunner().invoke(jobs["rotated_report"].main, given)
    assert isinstance(outcome.exception, SystemExit)
    assert outcome.exit_code == 1
    assert "is not a usable COCO annotation file" in outcome.output
    assert words in " ".join(outcome.output.split())
