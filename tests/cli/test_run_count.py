"""What is counted during a run, and from when on."""

from __future__ import annotations

import pytest

from odtk_ray.cli import run_count
from odtk_ray.cli.run_count import RunCount


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(run_count, "time", made)
    return made


def test_the_start_is_left_out(clock):
    count = RunCount(100, 20)
    clock.now += 60
    count.see(20, 0)
    assert (count.begun, count.rate, count.seconds_left) == (False, 0, None)
    clock.now += 60
    count.see(28, 0)
    assert (count.begun, count.rate, count.seconds_left) == (True, 0, None)
    clock.now += 2
    count.see(36, 1)
    assert (count.rate, count.seconds_left) == (4, 16)
    assert count.parts == ["36/100"]


def test_windows_count_where_there_are_some(clock):
    count = RunCount(2, 0)
    count.see_windows(0, 90)
    count.see(0, 0)
    assert not count.begun
    count.see_windows(10, 90)
    count.see(0, 0)
    assert count.begun
    clock.now += 5
    count.see_windows(30, 90)
    count.see(0, 0)
    assert (count.rate, count.unit, count.seconds_left) == (4, "windows", 15)
    assert count.parts == ["0/2", "30/90 windows"]


def test_windows_never_go_back_or_beyond_all(clock):
    count = RunCount(2, 0)
    for done, seen in ((30, 30), (20, 30), (95, 90)):
        count.see_windows(done, 90)
        count.see(1, 0)
        assert count.units == seen


def test_a_picture_that_failed_had_fewer_windows(clock):
    count = RunCount(2, 0)
    count.see_windows(40, 90)
    count.see(2, 1)
    assert count.units == count.all_units == 90
    assert count.parts == ["2/2", "90/90 windows"]


def test_a_run_without_images(clock):
    count = RunCount(0, 0)
    count.see(0, 0)
    assert (count.units, count.all_units, count.seconds_left) == (0, 0, None)
