"""Colours on terminals, and nowhere else."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from pseudo_terminal import on_terminal

from odtk_ray.cli.program import cli

RED, CYAN, END = "\x1b[31m\x1b[1m", "\x1b[36m", "\x1b[0m"
WRONG = ("infer", "model.pth", "--conf", "0.3")


def test_an_error_on_a_terminal():
    code, out, seen = on_terminal(*WRONG)
    assert (code, out) == (2, "")
    assert seen.startswith(f"{RED}error:{END} there is no option --conf\n  {CYAN}hint:{END} --conf")


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_they_are_not_wanted(variables):
    code, out, seen = on_terminal(*WRONG, **variables)
    assert (code, out) == (2, "")
    assert seen.startswith("error: there is no option --conf\n  hint: --conf is --threshold")


def test_no_colours_in_files(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    outcome = CliRunner().invoke(cli, list(WRONG))
    assert outcome.stderr.startswith("error: there is no option --conf\n  hint: ")


def test_forced_colours(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    outcome = CliRunner().invoke(cli, list(WRONG))
    assert outcome.stderr.startswith(f"{RED}error:{END} there is no option --conf\n")
