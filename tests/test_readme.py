"""Every command of the README and docs/ that needs neither a GPU nor a cluster, as typed there."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner
from documents import PAGES, ROOT, blocks, command_lines
from synthetic import picture

from odtk_ray.cli.program import cli

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PYTHON_PAGE = ROOT / "docs" / "python.md"
# Blocks with a tag are not run here: `make` and `install` are what CI itself runs, `cluster` and
# `gpu` need one, `geotiff` needs such pictures, `jetson` has the C++ programs, `repository` has
# scripts of a clone; `trees` is for a model that has learned something. test_pages_on_trees.py and
# test_tagged_commands.py have them.
COMMANDS = list(
    dict.fromkeys(
        line
        for page in PAGES
        for tag, body in blocks(page, "sh")
        if not tag
        for line in command_lines(body)
    )
)


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
    following = COMMANDS[COMMANDS.index("odtk-ray demo trees") + 1]
    assert f"  {following}" in outcome.stdout.splitlines()


@pytest.mark.cluster
def test_the_python_page(user_folder):
    bodies = [body for _, body in blocks(PYTHON_PAGE, "python")]
    ((_, shown),) = blocks(README, "python")
    assert bodies[0].startswith(shown)
    program = [sys.executable, "-c", "\n".join(bodies)]
    ran = subprocess.run(program, cwd=user_folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "['found.json']" in ran.stdout
