from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import picture

from odtk_ray.cluster.session import choose_fleet, session
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.worker.fleet import Fleet, physical_cores


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
@pytest.mark.parametrize(
    ("threads", "least", "expected"),
    [
        (None, None, Fleet(1, False, 4, elastic=True)),
        (3, None, Fleet(1, False, 3, elastic=True)),
        (1, None, Fleet(4, False, 1, elastic=True)),
        (2, 7, Fleet(7, False, 2, elastic=True)),
        (8, 2, Fleet(2, False, 8, elastic=True)),  # larger nodes are to come
    ],
)
def test_a_cluster_of_cpus_is_used_whole(ray_session, threads, least, expected):
    assert choose_fleet(None, threads, local=False, least=least, spread=True) == expected


@pytest.mark.cluster
def test_a_cluster_of_cpus_has_no_worker_without_an_image_of_the_batch(ray_session):
    assert choose_fleet(None, 1, local=False, spread=True, most=2) == Fleet(2, False, 1)


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


_TWO_SESSIONS = """
import os
import ray
from odtk_ray.cluster.session import session

before = dict(os.environ)
for _ in range(2):
    with session(None, 1):
        asked = os.environ["RAY_AUTH_TOKEN"]
        seen = ray.get(ray.remote(lambda: os.environ["RAY_AUTH_TOKEN"]).remote())
        print(len(asked), asked == seen)
    left = {name for name in os.environ if os.environ[name] != before.get(name)}
    print(sorted(name for name in left if "AUTH" in name))
"""


@pytest.mark.cluster
def test_a_private_ray_has_a_token_of_its_own_and_needs_no_home(tmp_path):
    """A token that Ray leaves in the home folder turns authentication on for later clusters."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_A", "HOME"))}
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", _TWO_SESSIONS],
        env=environment | {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split("\n")[:4] == ["64 True", "[]"] * 2, done.stderr
    assert not home.exists()


@pytest.mark.cluster
def test_a_folder_too_long_for_sockets_is_named(tmp_path, checkpoint):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    picture(0, 64, 64).save(tmp_path / "0.png")
    done = subprocess.run(
        [sys.executable, "-m", "odtk_ray", "infer", str(checkpoint), "--images", str(tmp_path)],
        env=os.environ | {"TMPDIR": str(long), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"too long a name for sockets: {long}\n  hint: export RAY_TMPDIR=" in done.stderr
