"""Commands of docs/ that test_readme.py does not run: what they name is there.

Those of `geotiff` and, where neither a GPU nor a service is needed, of `cluster` are run: the
latter with a folder of the test as /shared, and with a worker in this process.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from documents import PAGES, ROOT, blocks, command_lines
from rasterio.transform import Affine
from synthetic import picture

from odtk_ray.cli.program import cli


def tagged(*tags):
    """The distinct commands of blocks with these tags."""
    lines = [
        line
        for page in PAGES
        for tag, body in blocks(page, "sh")
        if tag in tags
        for line in command_lines(body)
    ]
    return [shlex.split(line) for line in dict.fromkeys(lines)]


def invoke(words):
    outcome = CliRunner().invoke(cli, words[1:])
    assert outcome.exit_code == 0, outcome.output


@pytest.fixture
def geotiffs(tmp_path, monkeypatch):
    """A GeoTIFF, and detections in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    place = {"crs": "EPSG:32633", "transform": Affine(0.5, 0, 4e5, 0, -0.5, 5.8e6)}
    form = {"driver": "GTiff", "width": 80, "height": 60, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "photos" / "0.tif", "w", **form, **place) as file:
        file.write(np.zeros((3, 60, 80), np.uint8))
    document = {
        "images": [{"id": 0, "file_name": "0.tif", "width": 80, "height": 60}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "bbox": [5, 5, 30, 20], "score": 0.5}
        ],
        "categories": [{"id": 1, "name": "tree"}],
    }
    (tmp_path / "detections.json").write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


def test_geotiffs(geotiffs):
    commands = tagged("geotiff")
    assert len(commands) == 2
    for words in commands:
        invoke(words)
        (feature,) = json.loads((geotiffs / "detections.geojson").read_text("utf-8"))["features"]
        assert feature["properties"] == {"image": "0.tif", "class": "tree", "score": 0.5}
        (geotiffs / "detections.geojson").unlink()


def on_shared_storage():
    """Runs of a checkpoint in /shared, typed by hand or behind the `--` of a job."""
    calls = []
    for typed in tagged("cluster"):
        words = typed[typed.index("--") + 1 :] if "--" in typed else typed
        ours = words[:3] == ["odtk-ray", "infer", "/shared/model.pth"]
        if ours and "--wait-for-nodes" not in words:  # that takes an autoscaler
            calls.append(words)
    return calls


def test_there_are_runs_on_shared_storage():
    assert len(on_shared_storage()) >= 3


@pytest.mark.parametrize("words", on_shared_storage(), ids=" ".join)
def test_runs_on_shared_storage(runs, checkpoint, tmp_path, words):
    shutil.copy(checkpoint, tmp_path / "model.pth")
    (tmp_path / "images").mkdir()
    picture(0, 80, 60).save(tmp_path / "images" / "0.jpg")
    document = {
        "images": [{"id": 7, "file_name": "0.jpg", "width": 80, "height": 60}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 2, "bbox": [5, 5, 30, 30]}],
        "categories": [{"id": i, "name": f"class {i}"} for i in (1, 2, 3)],
    }
    (tmp_path / "instances.json").write_text(json.dumps(document), encoding="utf-8")
    invoke([word.replace("/shared", str(tmp_path)) for word in words])
    written = json.loads((tmp_path / "detections.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in written["images"]] == ["0.jpg"]


SCRIPTS = [
    words
    for words in tagged("repository", "gpu", "cluster")
    if words[0] != "odtk-ray" and any(word.startswith("jobs/") for word in words)
]


@pytest.mark.parametrize("words", SCRIPTS, ids=" ".join)
def test_scripts_and_their_flags_are_there(words):
    """Flags may be declared in a module beside the script; tests/jobs has those of submit.py."""
    script = ROOT / next(word for word in words if word.startswith("jobs/"))
    assert script.exists()
    text = "".join(path.read_text(encoding="utf-8") for path in script.parent.rglob("*.py"))
    for word in words if script.name != "submit.py" else []:
        assert not word.startswith("--") or f'"{word}"' in text, word


def test_targets_of_the_makefile_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {words[1] for words in tagged("make", "repository") if words[0] == "make"}
    assert {"demo", "test", "docs"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


PROGRAMS = [words for words in tagged("jetson", "gpu") if "odtk_" in words[0]]


def test_there_are_programs():
    assert len(PROGRAMS) >= 10


@pytest.mark.parametrize("words", PROGRAMS, ids=" ".join)
def test_flags_of_the_cpp_programs_are_there(words):
    name = words[0].rpartition("/")[2]
    folder = ROOT / "cuda_ops" / "cpp" / "programs"
    others = {"odtk_build", "odtk_infer", "odtk_video"} - {name}
    sources = [path for path in folder.glob("*.cpp") if path.stem not in others]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    for word in words[1:]:
        assert not word.startswith("--") or word in text, word
