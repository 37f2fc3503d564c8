"""Pages whose commands need a model that has learned something: run on what `demo` writes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner
from documents import ROOT, blocks, command_lines

from odtk_ray.cli.program import cli


@pytest.fixture
def user_folder(tmp_path, monkeypatch):
    """The demonstration's files, by the names that the pages use."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(cli, ["demo", "trees"]).exit_code == 0
    (tmp_path / "trees" / "trees.pth").rename("model.pth")
    (tmp_path / "trees" / "trees.json").rename("instances.json")
    (tmp_path / "trees" / "photographs").rename("photos")
    (tmp_path / "names.txt").write_text("tree\n", encoding="utf-8")
    return tmp_path


def run_commands(page):
    """Run the page's commands, and return all that they print."""
    printed = ""
    for tag, body in blocks(page, "sh"):
        assert tag == "trees"
        for line in command_lines(body):
            program, *arguments = shlex.split(line)
            assert program == "odtk-ray"
            outcome = CliRunner().invoke(cli, arguments)
            assert outcome.exit_code == 0, outcome.output
            printed += outcome.output
    return printed


def without_figures(text):
    return re.sub(r"[\d.]+", "N", text)


def test_quick_start(runs, user_folder):
    """The page's output is that of its commands but for figures, which differ between CPUs."""
    page = ROOT / "docs" / "quick_start.md"
    printed = without_figures(run_commands(page)).splitlines()
    shown = [line for _, body in blocks(page, "text") for line in body.splitlines()]
    assert len(shown) >= 8
    assert [line for line in shown if without_figures(line) not in printed] == []
    assert {path.name for path in (user_folder / "drawn").iterdir()} == {
        "OSBS_029.jpg",
        "SOAP_061.jpg",
    }


def test_outputs(runs, user_folder):
    page = ROOT / "docs" / "outputs.md"
    (user_folder / "photos" / "OSBS_029.jpg").rename("photos/0.jpg")
    run_commands(page)
    program = [sys.executable, "-c", "\n".join(body for _, body in blocks(page, "python"))]
    ran = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "['image_id', 'file_name', 'category_id', 'category', 'score'" in ran.stdout
    assert "2 ['tree']" in ran.stdout
    assert "True" in ran.stdout.splitlines()  # as many boxes in both files
