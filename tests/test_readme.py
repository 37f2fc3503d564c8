"""Every command of the README and docs/ that needs neither a GPU nor a cluster, as typed there."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from documents import PAGES, ROOT, blocks, command_lines
from synthetic import picture

from odtk_ray.cli.program import cli

README = ROOT / "README.md"
PYTHON_PAGE = ROOT / "docs" / "python.md"


def commands(*pages):
    """Return the commands of pages, each once.

    Blocks with a tag are not run here: `make` and `install` are what CI itself runs, `cluster` and
    `gpu` need one, `geotiff` needs such pictures, `jetson` has the C++ programs, `repository` has
    scripts of a clone; `trees` is for a model that has learned something. test_pages_on_trees.py
    and test_tagged_commands.py have them.
    """
    untagged = (body for page in pages for tag, body in blocks(page, "sh") if not tag)
    return list(dict.fromkeys(line for body in untagged for line in command_lines(body)))


# The page that writes detections.json comes before those that read it.
COMMANDS = commands(README, ROOT / "docs" / "detect_objects.md", *PAGES)
README_COMMANDS = commands(README)


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory, checkpoint, rotated_checkpoint):
    """What a user has: a model, some photographs, an annotation file."""
    folder = tmp_path_factory.mktemp("user")
    ((_, options),) = blocks(ROOT / "docs" / "config_files.md", "toml")
    (folder / "run.toml").write_text(options, encoding="utf-8")
    (folder / "model.pth").write_bytes(checkpoint.read_bytes())
    (folder / "photos").mkdir()
    for seed in range(3):
        picture(seed, 80, 60).save(folder / "photos" / f"{seed}.jpg")
    document = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 80, "height": 60} for i in range(3)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [5, 5, 30, 30]}],
        "categories": [{"id": i, "name": f"class {i}"} for i in (1, 2, 3)],
    }
    (folder / "instances.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "turned.pth").write_bytes(rotated_checkpoint.read_bytes())
    document["annotations"][0]["bbox"] = [5, 5, 30, 30, 0.3]
    for name in ("turned.json", "opencv.json"):
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    (folder / "labelTxt").mkdir()
    (folder / "labelTxt" / "1.txt").write_text("5 5 34 5 34 34 5 34 ship 0\n", encoding="utf-8")
    return folder


def test_there_are_commands():
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_command(runs, user_folder, monkeypatch, command):
    monkeypatch.chdir(user_folder)
    program, *arguments = shlex.split(command)
    assert program == "odtk-ray"
    outcome = CliRunner().invoke(cli, arguments)
    assert outcome.exit_code == 0, outcome.output
    if "--output" in arguments:
        written = arguments[arguments.index("--output") + 1]
        assert (user_folder / written).stat().st_size > 0


def test_the_line_after_demo_is_the_one_that_demo_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = CliRunner().invoke(cli, ["demo", "trees"])
    demo, following = (shlex.split(line) for line in README_COMMANDS)
    assert demo == ["odtk-ray", "demo", "trees"]
    assert following in map(shlex.split, outcome.stdout.splitlines())


@pytest.mark.cluster
def test_a_new_reader(tmp_path):
    """What the README shows, typed into an empty folder from top to bottom."""
    ((_, program),) = blocks(README, "python")
    ((_, shell),) = [block for block in blocks(README, "sh") if not block[0]]
    programs = str(Path(sys.executable).parent)
    env = os.environ | {"PATH": os.pathsep.join((programs, os.environ["PATH"]))}
    for typed in (["bash", "-ec", shell], [sys.executable, "-c", program]):
        ran = subprocess.run(
            typed, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
    metrics = json.loads((tmp_path / "trees" / "detections.metrics.json").read_text("utf-8"))
    assert metrics["stats"]["AP50"] == pytest.approx(0.38, abs=0.01)
    assert len(list((tmp_path / "trees" / "drawn").iterdir())) == 2
    assert "score" in ran.stdout
    assert (tmp_path / "drawn.jpg").stat().st_size > 0


def test_the_readme_is_one_screen():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 65
    assert max(map(len, lines)) <= 80


def test_the_readme_and_the_benchmarks_have_the_same_figures():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert len(rows) == 5
    assert "\n".join(rows) in page


@pytest.mark.cluster
def test_the_python_page(user_folder):
    bodies = [body for _, body in blocks(PYTHON_PAGE, "python")]
    program = [sys.executable, "-c", "\n".join(bodies)]
    ran = subprocess.run(program, cwd=user_folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "['found.json']" in ran.stdout
