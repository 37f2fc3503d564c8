"""`--report` of evaluate, compare and infer: which files it takes, and what it refuses."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from evaluation_scenes import make_scene
from PIL import Image
from synthetic import picture

from odtk_ray.cli.program import cli

# Neither can be imported.
WITHOUT = """
import sys
sys.modules["ray"] = sys.modules["torch"] = None
from odtk_ray.cli.process import main
main()
"""


@pytest.fixture
def scene(tmp_path):
    dataset, found = make_scene(39, crowds=False)
    for name, content in (("truth", dataset), ("a", found), ("b", found[::2])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "images").mkdir()
    for image in dataset["images"]:
        picture(image["id"], 100, 100).save(tmp_path / "images" / image["file_name"])
    return tmp_path


def run(verb, *arguments):
    return CliRunner().invoke(cli, [verb, *map(str, arguments)])


def pictures_in(path):
    return path.read_text(encoding="utf-8").count("data:image/jpeg;base64,")


def test_evaluate_needs_neither_ray_nor_torch_for_it(scene):
    arguments = ["evaluate", scene / "a.json", "--annotations", scene / "truth.json"]
    arguments += ["--images", scene / "images", "--report", scene / "r.html"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines()[-1] == f"wrote {scene / 'r.html'}"
    assert pictures_in(scene / "r.html") >= 1


def test_compare_has_both_on_one_picture(scene):
    done = run("compare", scene / "a.json", scene / "b.json", "--annotations",
               scene / "truth.json", "--images", scene / "images", "--report",
               scene / "r.html")  # fmt: skip
    assert done.exit_code == 0, done.output
    text = (scene / "r.html").read_text(encoding="utf-8")
    assert pictures_in(scene / "r.html") >= 1
    for kind in ("right-a", "right-b", "both", "wrong-a", "wrong-b", "missed"):
        assert f'data-kind="{kind}"' in text
    assert '<path class="right a' in text
    assert '<path class="right b' in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.json", "--images", "images"], "--images needs --report"),
        (["a.json", "--report", "r.html", "--images", "imagse"], "there is no folder imagse"),
        (["a.json", "--report", "a.json"], "--report a.json would replace what DETECTIONS"),
        (["a.json", "--report", "truth.json"], "--report truth.json would replace"),
        (["a.json", "--report", "m", "--output", "m"], "--output and --report are the same file"),
        (["a.json", "--report", "images"], "cannot write images: it is a folder"),
        (["a.json", "--report", "no/r.html"], "cannot write no/r.html: there is no folder no"),
    ],
)
def test_evaluate_refuses_before_it_works(scene, monkeypatch, arguments, said):
    monkeypatch.chdir(scene)
    before = sorted(os.listdir())
    done = run("evaluate", *arguments, "--annotations", "truth.json")
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [["a.json", "b.json"], ["a.json", "b.json", "a.json", "--annotations", "truth.json"]],
)
def test_compare_reports_two_files_with_ground_truth_alone(scene, monkeypatch, arguments):
    monkeypatch.chdir(scene)
    done = run("compare", *arguments, "--report", "r.html")
    assert done.exit_code == 2
    assert "--report needs two files of detections and --annotations" in done.output


def test_names_that_lead_out_of_the_folder_are_not_read(scene):
    """Neither by dots nor by a link."""
    dataset = json.loads((scene / "truth.json").read_text(encoding="utf-8"))
    Image.new("RGB", (50, 50)).save(scene / "secret.jpg")
    os.symlink(scene / "secret.jpg", scene / "images" / "link.jpg")
    for i, image in enumerate(dataset["images"]):
        image["file_name"] = ("../secret.jpg", "link.jpg", str(scene / "secret.jpg"))[i % 3]
    (scene / "truth.json").write_text(json.dumps(dataset), encoding="utf-8")
    done = run("evaluate", scene / "a.json", "--annotations", scene / "truth.json", "--images",
               scene / "images", "--report", scene / "r.html")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert pictures_in(scene / "r.html") == 0
    assert "pictures could be read" in (scene / "r.html").read_text(encoding="utf-8")


def test_infer_reports_what_it_ran_on(scene, checkpoint):
    dataset = json.loads((scene / "truth.json").read_text(encoding="utf-8"))
    dataset["categories"] = [{"id": i, "name": f"class {i}"} for i in range(3)]
    dataset["annotations"] = [a for a in dataset["annotations"] if a["category_id"] < 3]
    broken = dataset["images"][0]["file_name"]
    (scene / "images" / broken).write_bytes(b"no picture")
    (scene / "truth.json").write_text(json.dumps(dataset), encoding="utf-8")
    done = run("infer", checkpoint, "--images", scene / "images", "--annotations",
               scene / "truth.json", "--resize", "64", "--local", "--output", scene / "out.json",
               "--report", scene / "r.html")  # fmt: skip
    assert done.exit_code == 3, done.output
    text = (scene / "r.html").read_text(encoding="utf-8")
    assert "Left out, together with their boxes to find: 1." in text
    assert f'<th scope="row">{broken}</th><td>not an image' in text
    assert "short side 64" in text
    assert "to the first shard" in text
    assert pictures_in(scene / "r.html") >= 1


def test_infer_reports_only_with_annotations(scene, checkpoint):
    done = run("infer", checkpoint, "--images", scene / "images", "--report", scene / "r.html")
    assert done.exit_code == 2
    assert "--report needs --annotations" in done.output
