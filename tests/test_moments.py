"""When a process got how far."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from odtk_ray.moments import Moment, begin_moments, note_moment, noted_moments


def test_the_first_time_counts_and_a_new_run_forgets():
    begin_moments()
    note_moment(Moment.RAY_UP, 5.0)
    note_moment(Moment.RAY_UP, 6.0)
    assert noted_moments()[Moment.RAY_UP] == 5.0
    begin_moments()
    assert list(noted_moments()) == [Moment.BEGUN]


def test_a_process_knows_when_it_was_started():
    """Between two times of the process that starts it, but for the 10 ms of a tick and another."""
    code = "from odtk_ray.moments import process_start; print(process_start())"
    before = time.time()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        after = time.time()
        started = float(process.stdout.read())
    tick = 2 / os.sysconf("SC_CLK_TCK")
    assert before - tick <= started <= after + tick
