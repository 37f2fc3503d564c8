"""Every command of the README that needs neither a GPU nor a cloud, as it is typed there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic import picture

from odtk_ray.cli import cli

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
# `make` and `install` blocks are what CI itself runs; `cluster` blocks need a cluster.
BLOCKS = re.findall(r"^```(\S*) ?(\S*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line for kind, tag, body in BLOCKS if kind == "sh" and not tag for line in body.splitlines()
]


@pytest.fixture(scope="module")
def user_folder(tmp_path_factory, checkpoint, rotated_checkpoint):
    """What a user has: a model, some photographs, an annotation file."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "model.pth").write_bytes(checkpoint.read_bytes())
    (folder / "photos").mkdir()
    for seed in range(3):
        picture(seed, 80, 60).save(folder / "photos" / f"{seed}.jpg")
    document = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 80, "height": 60} for i in range(3)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [5, 5, 30, 30]}],
        "categories": [{"id": i, "name": f"class {i}"} for i in (1, 2, 3)],
    }
    (folder / "instances.json").write_text(json.dumps(document))
    (folder / "turned.pth").write_bytes(rotated_checkpoint.read_bytes())
    document["annotations"][0]["bbox"] = [5, 5, 30, 30, 0.3]
    for name in ("turned.json", "opencv.json"):
        (folder / name).write_text(json.dumps(document))
    (folder / "labelTxt").mkdir()
    (folder / "labelTxt" / "1.txt").write_text("5 5 34 5 34 34 5 34 ship 0\n")
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


def test_every_flag_is_in_the_table():
    flags = {flag for option in cli.commands["infer"].params for flag in option.opts}
    hidden = {"model", "--debug"}
    assert {f for f in flags - hidden if f"`{f}`" not in TEXT and f"{f}`" not in TEXT} == set()


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", TEXT):
        assert (ROOT / target).exists(), target
