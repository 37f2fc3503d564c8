"""Waiting for storage that is away, and no longer."""

from __future__ import annotations

import errno
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from odtk_ray.storage import retry


def test_who_is_not_waited_for_any_more_gives_up():
    """A thread waits for storage that is away; its run was stopped."""

    def away():
        raise OSError(errno.EIO, "the server does not answer")

    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(retry.with_retries, away, 600.0)
        while not retry.is_waiting():
            time.sleep(0.01)
        retry.give_up()
        try:
            with pytest.raises(OSError, match="does not answer"):
                waits.result(timeout=60)
        finally:
            retry.be_patient()


def test_an_outage_is_told_once_with_its_cause(monkeypatch):
    monkeypatch.setattr(retry, "OUTAGE_TOLD", 0.0)
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.001)
    told, failures = [], iter([True] * 5 + [False] + [True] * 3 + [False])

    def call():
        if next(failures):
            raise OSError(errno.ETIMEDOUT, "timed out", "/mnt/run")
        return 7

    with retry.outages_told(told.append):
        assert retry.with_retries(call) == 7
        assert len(told) == 1
        assert told[0].endswith("s, and is waited for: timed out: /mnt/run")
        assert retry.with_retries(call) == 7
    assert len(told) == 2  # two outages
    assert not retry.is_waiting()
