"""What a run looks like on a terminal and elsewhere."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from pseudo_terminal import terminal

from odtk_ray.cli import screen
from odtk_ray.cli.screen import Console, describe_fleet
from odtk_ray.evaluation.metrics import STATS, Metrics
from odtk_ray.worker.fleet import Fleet


def watch(total=10):
    with Console() as screen:
        screen.stage("reading the model")
        screen.note("a note")
        screen.begin(total, 2)
        screen.stage("loading the model on 1 GPU")
        screen.progress(2, 0)
        for done, failed in ((3, 0), (5, 1), (4, 1), (10, 1)):
            screen.progress(done, failed)
        screen.end()
        screen.warn("a warning")


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(screen, "_LINE_INTERVAL", 0.0)
    watch()
    out, err = capsys.readouterr()
    assert out == ""
    reading, note, loading, waiting, first, *lines, warning = err.splitlines()
    assert (reading, loading) == ("reading the model", "loading the model on 1 GPU")
    assert (note, warning) == ("note: a note", "warning: a warning")
    assert (waiting, first) == ("[2/10] loading the model on 1 GPU", "[3/10] 0 failed")
    done = [re.fullmatch(r"\[(\d+)/10\] (\d) failed, .* img/s, .* s left", x) for x in lines]
    # Five, then four after a crash: the count does not go back.
    assert [match.groups() for match in done] == [("5", "1"), ("5", "1"), ("10", "1")]


def test_no_line_before_its_time(capsys):
    watch()
    assert capsys.readouterr().err.splitlines() == ["note: a note", "warning: a warning"]


@pytest.fixture
def on_screen(monkeypatch):
    """What a terminal got while a function ran."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def run(function):
        with terminal() as (file, written), monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", file)
            function()
        return written.decode()

    return run


def test_a_live_line_on_a_terminal(on_screen):
    seen = on_screen(watch)
    places = [seen.index(text) for text in ("reading the model", "loading the model", "detecting")]
    assert places == sorted(places)
    assert "2/10" not in seen  # nothing to count yet
    assert "10/10" in seen
    assert "1 failed" in seen
    assert "img/s" in seen
    assert "[10/10]" not in seen
    assert "\x1b[36mnote:\x1b[0m a note" in seen
    assert "\x1b[33mwarning:\x1b[0m a warning" in seen


def test_remarks_go_above_the_live_line_and_keep_their_lines(on_screen):
    long = "x" * 90 + " " + "y" * 90  # would be wrapped between the words

    def speak():
        with Console() as screen:
            screen.stage("starting Ray")
            screen.note(long)
            screen.begin(9, 0)
            screen.progress(3, 0)
            screen.warn(long)
            screen.progress(6, 0)

    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_screen(speak)))
    assert f"note: {long}" in lines
    assert f"warning: {long}" in lines
    assert [line for line in lines if "starting Ray" in line and "note" in line] == []


def test_a_narrow_window_has_the_figures_without_the_bar(on_screen, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    seen = on_screen(watch)
    assert "10/10  1 failed" in seen
    assert "0:00:00" in seen
    assert "detecting" not in seen


def test_names_on_the_live_line_are_printable(on_screen):
    def connect():
        with Console() as screen:
            screen.stage("connecting to Ray at [red]{x}\x1b[2J\nhost")

    assert r"connecting to Ray at [red]{x}\x1b[2J\nhost" in on_screen(connect)


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_rewritten_where_that_cannot_be_or_is_not_wanted(on_screen, monkeypatch, quiet):
    monkeypatch.setenv("TERM", "xterm" if quiet else "dumb")

    def show():
        with Console(quiet=quiet) as screen:
            screen.stage("starting Ray")
            screen.begin(9, 0)
            screen.progress(3, 0)

    assert on_screen(show) == ""


def test_stages_come_from_any_thread(on_screen):
    def show():
        with Console() as screen, ThreadPoolExecutor(8) as pool:
            list(pool.map(screen.stage, (f"stage {number}" for number in range(50))))

    seen = on_screen(show)
    assert all(f"stage {number}" in seen for number in range(50))
    assert (
        seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 50
    )  # each hid and showed the cursor


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("class", "AP")], ["class  AP"]),
        ([("class", "AP"), ("tree", "0.5"), ("traffic light", "-")],
         ["class           AP", "tree           0.5", "traffic light    -"]),
    ],
)  # fmt: skip
def test_tables_are_aligned(capsys, rows, expected):
    screen.print_table(rows)
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("worst", [-1.0, 0.0])
def test_a_figure_that_is_none_is_explained(capsys, worst):
    """pycocotools prints -1.000 too, and leaves its users to look it up."""
    screen._print_figures(Metrics(1, dict.fromkeys(STATS, 0.5) | {"APl": worst}, ()))
    out, err = capsys.readouterr()
    assert f"= {worst:.3f}" in out
    said = "note: -1.000 stands for: the ground truth has no such boxes to find\n"
    assert err == (said if worst < 0 else "")


@pytest.mark.parametrize(
    ("workers", "names", "expected"),
    [
        (1, (), "1 GPU"),
        (1, ("A",), "1 GPU"),
        (2, ("A", "B"), "2 GPUs: A, B"),
        (24, ("A", "B"), "24 GPUs, at the end 2: A, B"),
        (24, ("A",), "24 GPUs, at the end 1: A"),
        (1, tuple("ABCDEF"), "1 GPU, at the end 6: A, B, C, D and 2 more"),
    ],
)
def test_the_last_line_names_the_workers_of_the_end(workers, names, expected):
    assert describe_fleet(Fleet(workers, True, 4, names=names)) == expected
