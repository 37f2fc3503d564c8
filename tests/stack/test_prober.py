"""Calls in another process: whatever happens there, the caller goes on."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from odtk_ray.errors import UsageError
from odtk_ray.stack.prober import ProbeError, Prober


def process_id():
    print("a library may print")
    os.write(1, b"in C too\n")
    return os.getpid()


def doubled(value):
    return [value, value]


def raising():
    raise ValueError("no\nluck")


def refusing():
    raise UsageError("cannot", "it is full", "empty it")


def leaving():
    sys.exit(3)


def crashing():
    os.write(2, b"terminate called\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def ending():
    os._exit(7)


def hanging():
    time.sleep(1_000)


@pytest.fixture
def prober(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    with Prober() as made:
        yield made


def test_one_process_answers_call_after_call(prober):
    first = prober.ask(process_id)
    assert first != os.getpid()
    assert prober.ask(doubled, "ä\n") == ["ä\n", "ä\n"]
    assert prober.ask(doubled, "x" * 300_000) == ["x" * 300_000] * 2
    assert prober.ask(process_id) == first


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (raising, "ValueError: no"),
        (refusing, "cannot: it is full"),
        (leaving, "SystemExit: 3"),
    ],
)
def test_what_is_raised_is_said_and_the_process_stays(prober, function, words):
    first = prober.ask(process_id)
    with pytest.raises(ProbeError) as failed:
        prober.ask(function)
    assert (str(failed.value), failed.value.crashed) == (words, False)
    assert prober.ask(process_id) == first


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (crashing, "the process died (SIGSEGV: terminate called)"),
        (ending, "the process died (exit code 7)"),
    ],
)
def test_a_crash_is_said_and_another_process_goes_on(prober, function, words):
    first = prober.ask(process_id)
    with pytest.raises(ProbeError) as failed:
        prober.ask(function)
    assert (str(failed.value), failed.value.crashed) == (words, True)
    assert prober.ask(process_id) not in (first, os.getpid())


def test_a_process_that_hangs_is_ended(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    with Prober(patience=0.5) as prober:
        with pytest.raises(ProbeError, match="no answer within") as failed:
            prober.ask(hanging)
        assert failed.value.crashed
        assert prober._process is None


def test_no_process_is_left_behind(prober):
    with Prober() as other:
        pid = other.ask(process_id)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
