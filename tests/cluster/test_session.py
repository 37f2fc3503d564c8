from __future__ import annotations

import os

import pytest

from odtk_ray.cluster.session import Fleet, choose_fleet, physical_cores, session
from odtk_ray.errors import OdtkError, UsageError


def test_physical_cores_are_some_of_those_that_we_may_use():
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [  # the session's one node has four slots
        (None, None, Fleet(1, False, 4)),
        (2, None, Fleet(2, False, 2)),
        (3, None, Fleet(3, False, 1)),
        (4, 1, Fleet(4, False, 1)),
        (1, 3, Fleet(1, False, 3)),
    ],
)
def test_cores_are_shared_among_workers(ray_session, workers, threads, expected):
    assert choose_fleet(workers, threads, local=False) == expected


@pytest.mark.cluster
@pytest.mark.parametrize(("workers", "threads"), [(5, None), (3, 2), (1, 5)])
def test_what_does_not_fit_is_refused_instead_of_waiting_for_ever(ray_session, workers, threads):
    with pytest.raises(UsageError, match="not fit into the cluster"):
        choose_fleet(workers, threads, local=False)


def test_whatever_keeps_ray_from_starting_is_said(monkeypatch):
    """It raises bare exceptions where a machine is too busy, which no test can have it do."""
    import ray

    def fail(**_):
        raise Exception("The current node timed out during startup.\nMore of it.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(OdtkError, match="cannot start Ray on this machine: The current node timed"),
        session(None, 1),
    ):
        pass
