"""What a run looks like on a terminal and elsewhere."""

from __future__ import annotations

import re
import sys

import pytest
from pseudo_terminal import terminal

from odtk_ray.cli import screen
from odtk_ray.cli.screen import Console
from odtk_ray.evaluation.metrics import STATS, Metrics


def watch(total=10):
    with Console() as screen:
        screen.note("a note")
        screen.begin(total, 2)
        for done, failed in ((3, 0), (5, 1), (4, 1), (10, 1)):
            screen.progress(done, failed)
        screen.end()
        screen.warn("a warning")


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(screen, "_LINE_INTERVAL", 0.0)
    watch()
    out, err = capsys.readouterr()
    assert out == ""
    note, *lines, warning = err.splitlines()
    assert (note, warning) == ("note: a note", "warning: a warning")
    done = [re.fullmatch(r"\[(\d+)/10\] (\d) failed, .* img/s, .* s left", x) for x in lines]
    # Five, then four after a crash: the count does not go back.
    assert [match.groups() for match in done] == [("3", "0"), ("5", "1"), ("5", "1"), ("10", "1")]


def test_no_line_before_its_time(capsys):
    watch()
    assert capsys.readouterr().err.splitlines() == ["note: a note", "warning: a warning"]


def test_a_live_bar_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    with terminal() as (file, written):
        monkeypatch.setattr(sys, "stderr", file)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        watch()
    seen = written.decode()
    assert "detecting" in seen
    assert "10/10" in seen
    assert "1 failed" in seen
    assert "img/s" in seen
    assert "[10/10]" not in seen
    assert "\x1b[36mnote:\x1b[0m a note" in seen
    assert "\x1b[33mwarning:\x1b[0m a warning" in seen


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("class", "AP")], ["class  AP"]),
        ([("class", "AP"), ("tree", "0.5"), ("traffic light", "-")],
         ["class           AP", "tree           0.5", "traffic light    -"]),
    ],
)  # fmt: skip
def test_tables_are_aligned(capsys, rows, expected):
    screen._print_table(rows)
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("worst", [-1.0, 0.0])
def test_a_figure_that_is_none_is_explained(capsys, worst):
    """pycocotools prints -1.000 too, and leaves its users to look it up."""
    screen._print_metrics(Metrics(1, dict.fromkeys(STATS, 0.5) | {"APl": worst}, ()))
    out, err = capsys.readouterr()
    assert f"= {worst:.3f}" in out
    said = "note: -1.000 stands for: the ground truth has no such boxes to find\n"
    assert err == (said if worst < 0 else "")
