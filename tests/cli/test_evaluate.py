"""`odtk-ray evaluate`: detections of any program against ground truth, without Ray or torch."""

import json
import subprocess
import sys
from pathlib import Path

import cocoapi_example
import numpy as np
import pytest
from click.testing import CliRunner
from evaluation_scenes import make_scene

import odtk_ray
from odtk_ray.cli.program import cli
from odtk_ray.datasets.rotated_boxes import corners

# Neither can be imported.
WITHOUT = """
import sys
sys.modules["ray"] = sys.modules["torch"] = None
from odtk_ray.cli.process import main
main()
"""


SEED = 39  # a scene whose classes reach the goals below, one not the precision


def write(folder, dataset, found):
    paths = [folder / "truth.json", folder / "found.json"]
    for path, content in zip(paths, (dataset, found), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    return [str(paths[1]), "--annotations", str(paths[0])]


@pytest.fixture
def scene(tmp_path):
    return write(tmp_path, *make_scene(SEED))


def evaluate(*arguments):
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


def test_it_needs_neither_ray_nor_torch(tmp_path):
    truth, found = cocoapi_example.unpack(tmp_path)
    arguments = ["evaluate", found, "--annotations", truth, "--output", tmp_path / "m.json"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[0].endswith("= 0.505")
    assert lines[11].endswith("= 0.564")
    row = next(line for line in lines if line.startswith("person  ")).split()
    assert row == "person 1 0.533 0.788 0.596 0.604 250 201 0.990 0.796 0.882 0.012".split()
    assert lines[-1] == f"wrote {tmp_path / 'm.json'}"
    errors = [line.split() for line in lines[lines.index(next(
        line for line in lines if line.startswith("error"))) + 1 :][:6]]  # fmt: skip
    assert errors[0] == ["class", "0.222", "58", "83"]
    assert errors[-1] == ["missed", "0.085", "181", "97"]


SCHEMA = {
    "format": int,
    "images": int,
    "stats": {"AP": float, "AP50": float, "AP75": float, "APs": float, "APm": float, "APl": float,
              "AR1": float, "AR10": float, "AR100": float, "ARs": float, "ARm": float,
              "ARl": float},
    "classes": [{"id": (int, str), "name": str, "AP": float, "AP50": float, "AP75": float,
                 "AR": float, "boxes": int, "detections": int, "threshold": (float, type(None)),
                 "precision": (float, type(None)), "recall": (float, type(None)),
                 "F1": (float, type(None))}],
    "thresholds_for": str,
    "errors": {kind: {"count": int, "at_thresholds": int, "AP50": float}
               for kind in ("class", "location", "both", "duplicate", "background", "missed")},
    "errors_base": float,
    "sizes": {size: {"boxes": int, "AP": float, "AR": float, "right": int, "class": int,
                     "location": int, "both": int, "duplicate": int, "background": int,
                     "missed": int} for size in ("small", "medium", "large")},
    "confusion": [{"truth": (int, str, type(None)), "detected": (int, str, type(None)),
                   "count": int}],
}  # fmt: skip


def assert_schema(value, schema, name="file"):
    """Exactly the keys and types that docs/metrics_file.md has."""
    if isinstance(schema, dict):
        assert list(value) == list(schema), name
        for key, inner in schema.items():
            assert_schema(value[key], inner, f"{name}.{key}")
    elif isinstance(schema, list):
        for item in value:
            assert_schema(item, schema[0], f"{name}[]")
    else:
        kinds = schema if isinstance(schema, tuple) else (schema,)
        assert type(value) in {*kinds, *({int} if float in kinds else ())}, f"{name}: {value}"


def test_the_file_has_the_documented_keys(tmp_path, scene):
    evaluate(*scene, "--output", tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert_schema(document, SCHEMA)
    assert document["format"] == 1
    page = (Path(__file__).parents[2] / "docs" / "metrics_file.md").read_text(encoding="utf-8")
    for key in (*SCHEMA, *SCHEMA["classes"][0], *SCHEMA["sizes"]["small"], *SCHEMA["stats"]):
        assert f"`{key}`" in page, key


def test_the_program_gets_what_is_printed(tmp_path, scene):
    evaluation = odtk_ray.evaluate(scene[0], annotations=scene[2])
    evaluate(*scene, "--output", tmp_path / "m.json")
    document = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert document["stats"] == evaluation.analysis.metrics.stats
    assert len(evaluation.table) == len(evaluation.analysis.detections.status)


@pytest.mark.parametrize(
    ("flags", "reached"),
    [
        ([], lambda entry: True),
        (["--precision", "0.8"], lambda entry: entry["precision"] >= 0.8),
        (["--recall", "0.5"], lambda entry: entry["recall"] >= 0.5),
    ],
)
def test_thresholds_reach_what_is_wanted(tmp_path, scene, flags, reached):
    done = evaluate(*scene, *flags, "--thresholds", tmp_path / "t.json")
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert document["classes"]
    assert all(map(reached, document["classes"]))
    assert document["thresholds_for"] in ("the best F1", "precision 0.8", "recall 0.5")
    assert document["thresholds_for"] in done.stdout
    said = "1 class does not reach precision 0.8 at any threshold, the first is class"
    assert (said in done.stderr) == ("--precision" in flags)


def test_rotated_boxes_have_two_tables(tmp_path):
    """A box turned by a right angle is the box of the other sides."""
    box, turned = [10, 10, 41, 21, 0.0], [20, 0, 21, 41, np.pi / 2]
    outline = corners(np.array([box])).reshape(1, 8).tolist()
    dataset = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 800,
                         "segmentation": outline}],
    }  # fmt: skip
    found = [{"image_id": 1, "category_id": 1, "bbox": turned, "score": 0.5}]
    arguments = write(tmp_path, dataset, found)
    done = evaluate(*arguments, "--rotated-bbox", "--output", tmp_path / "m.json")
    assert done.exit_code == 0, done.output
    assert "the same by exact polygons, without pixels:" in done.stdout
    document = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert document["stats"]["AP"] == pytest.approx(1)
    assert document["exact"]["stats"]["AP"] == pytest.approx(1)
    flat = evaluate(*arguments)
    assert flat.exit_code == 2
    assert "add --rotated-bbox" in flat.stderr
    del dataset["images"][0]["width"]
    sizeless = evaluate(*write(tmp_path, dataset, found), "--rotated-bbox")
    assert sizeless.exit_code == 2
    assert "does not say how large its images are" in sizeless.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--precision", "1.5"], "--precision 1.5 is out of range"),
        (["--precision", "0.5", "--recall", "0.5"], "cannot both be given"),
        (["--output", "{truth}"], "would replace what --annotations"),
        (["--thresholds", "{found}"], "would replace what DETECTIONS"),
        (["--output", "{folder}/m.json", "--thresholds", "{folder}/m.json"], "are the same file"),
    ],
)
def test_wrong_usage_is_one_sentence_and_touches_nothing(tmp_path, scene, flags, words):
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    places = {"truth": scene[2], "found": scene[0], "folder": str(tmp_path)}
    done = evaluate(*scene, *(flag.format(**places) for flag in flags))
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.stderr.split())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotations": None}, "it has no `annotations`"),
        ({"categories": None}, "it has no `categories`"),
        ({"images": [{"id": 0}, {"id": 0}]}, "two of its images have the same id"),
        ({"images": [{"id": 0.5}]}, "neither text nor a whole number"),
    ],
)
def test_an_unusable_annotation_file_is_one_sentence(tmp_path, change, words):
    dataset, found = make_scene(5)
    dataset = {k: v for k, v in (dataset | change).items() if v is not None}
    done = evaluate(*write(tmp_path, dataset, found))
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_what_is_left_out_is_said(tmp_path):
    dataset, found = make_scene(5)
    found.append(found[0] | {"image_id": 99})
    done = evaluate(*write(tmp_path, dataset, found))
    assert done.exit_code == 0
    assert "warning: left out: 1 detection is of images that" in done.stderr
