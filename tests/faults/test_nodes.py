"""Nodes that are lost with many workers, that cannot do their part, that are about to end."""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from effort import long_case
from engines_for_tests import NotingEngine, PixelEngine, SlowEngine, SlowUntilEngine
from synthetic import Quiet, picture

from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """400 small pictures of one size: thirteen shards."""
    folder = tmp_path_factory.mktemp("images")
    for seed in range(400):
        picture(seed, 40, 32).save(folder / f"{seed:03d}.png")
    return folder


@pytest.fixture(scope="module")
def expected(checkpoint, images, tmp_path_factory):
    """The bytes of an undisturbed run, in this process: they are the same anywhere."""
    folder = tmp_path_factory.mktemp("expected")
    config = replace(setup_run(checkpoint, folder, images), local=True, threads_per_worker=4)
    infer(config, Quiet(), PixelEngine)
    return outputs(config)


def setup_run(checkpoint, folder, images, **more):
    return InferConfig(
        str(checkpoint),
        images=str(images),
        output=(str(folder / "out.json"), str(folder / "out.jsonl")),
        resize=32,
        max_size=64,
        **more,
    )


def outputs(config):
    return [storage.read_bytes(path) for path in config.output]


def at_commits(monkeypatch, actions):
    """Do something just before commits of the run, by their numbers from 1."""
    commit, count = RunFolder.commit, iter(range(1, 1 << 30))

    def acted(self, *receipts):
        actions.get(next(count), lambda: None)()
        return commit(self, *receipts)

    monkeypatch.setattr(RunFolder, "commit", acted)


def slow(seconds=0.1):
    return functools.partial(SlowEngine, seconds)


def customized(folder, code):
    """The variables of a node whose Python processes run some code first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    tests = Path(__file__).parents[1]
    return {"PYTHONPATH": os.pathsep.join(map(str, (folder, tests, tests.parent)))}


OTHER_VERSION = "import odtk_ray; odtk_ray.__version__ = '0.0.9'"


@pytest.mark.parametrize("workers", [4, long_case(22)])
def test_a_node_that_is_lost_with_many_workers_is_one_event(
    checkpoint, images, tmp_path, quiet, monkeypatch, cluster, expected, workers
):
    """They are more than half of all, and hold shards; nothing is suspected, or given up.

    A third node cannot do its part: it is left out.
    """
    large = cluster.add(gpus=workers)
    cluster.add(gpus=2)
    cluster.add(**customized(tmp_path / "other", OTHER_VERSION))
    config = setup_run(checkpoint, tmp_path, images, address=cluster.address)
    at_commits(monkeypatch, {2: lambda: cluster.remove(large)})
    assert infer(config, quiet, slow()).failed == 0
    left_out = [w for w in quiet.warnings if "is left out: it has odtk-ray 0.0.9, and the" in w]
    (warning,) = [w for w in quiet.warnings if w not in left_out]
    assert len(left_out) == 1
    assert warning.endswith(f"is lost: its {workers} workers start again")
    assert outputs(config) == expected


class Counting(Quiet):
    """Makes a sign after so many warnings."""

    def __init__(self, warnings, sign):
        super().__init__()
        self._left, self._sign = warnings, sign

    def warn(self, text, hint=""):
        super().warn(text, hint)
        self._left -= 1
        if self._left == 0:
            self._sign.touch()


@pytest.mark.long
@pytest.mark.parametrize("joins", [True, False])
def test_bad_nodes_are_left_out_by_name_and_cause(
    checkpoint, images, tmp_path, monkeypatch, cluster, expected, s3, joins
):
    """Those without the run's storage, with another version, or without any; late, or first."""
    missing = "import sys; sys.modules['odtk_ray'] = None"
    bad = {
        "cannot read the run folder": {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        "it has odtk-ray 0.0.9, and the driver has": customized(tmp_path / "other", OTHER_VERSION),
        "No module named": customized(tmp_path / "missing", missing),
    }

    def add_bad():
        for variables in bad.values():
            cluster.add(**variables)

    if not joins:
        add_bad()
    cluster.add()
    config = setup_run(checkpoint, tmp_path, images, address=cluster.address, run_dir=f"{s3.url}/r")
    at_commits(monkeypatch, {1: add_bad} if joins else {})
    sign = tmp_path / "named"
    reporter = Counting(len(bad), sign)
    summary = infer(config, reporter, functools.partial(SlowUntilEngine, str(sign)))
    assert summary.failed == 0
    for cause in bad:
        assert any("is left out: " in w and cause in w for w in reporter.warnings), cause
    assert outputs(config) == expected


@pytest.mark.long
def test_a_node_that_is_excluded_does_nothing(checkpoint, images, tmp_path, quiet, cluster):
    excluded, used = cluster.add(), cluster.add()
    config = setup_run(checkpoint, tmp_path, images, address=cluster.address)
    config = replace(config, exclude_node=(excluded.node_id,))
    seen = tmp_path / "seen"
    seen.mkdir()
    assert infer(config, quiet, functools.partial(NotingEngine, str(seen))).fleet.workers == 1
    assert [path.name for path in seen.iterdir()] == [used.node_id]
    assert quiet.warnings == quiet.notes[1:] == []


@pytest.mark.long
def test_a_run_ends_when_no_node_works(checkpoint, images, tmp_path, quiet, cluster, s3):
    for _ in range(2):
        cluster.add(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    config = setup_run(checkpoint, tmp_path, images, address=cluster.address, run_dir=f"{s3.url}/r")
    with pytest.raises(OdtkError, match=r"on a worker: node \S+ \(.+\) cannot read the run folder"):
        infer(config, quiet, PixelEngine)
    assert len(quiet.warnings) == 1


@pytest.mark.parametrize("waves", [1, long_case(3)])
def test_nodes_that_are_taken_back_end_what_they_have_begun(
    checkpoint, images, tmp_path, quiet, monkeypatch, cluster, expected, waves
):
    """Each wave has two workers, and eight seconds' notice; the next one comes meanwhile."""
    nodes = [cluster.add(gpus=2)]
    ends = []

    def next_wave():
        old = nodes[-1]
        cluster.drain(old, 8)
        nodes.append(cluster.add(gpus=2))
        ends.append(threading.Timer(8, cluster.remove, [old]))
        ends[-1].start()

    at_commits(monkeypatch, {2 + 3 * wave: next_wave for wave in range(waves)})
    config = setup_run(checkpoint, tmp_path, images, address=cluster.address)
    trace = tmp_path / "trace.json"
    assert infer(replace(config, trace=str(trace)), quiet, slow()).failed == 0
    for end in ends:
        end.join()
    assert len(nodes) == waves + 1
    # What had no time to end is lost with its node: no crash either.
    assert [w for w in quiet.warnings if "is about to end" not in w and "is lost" not in w] == []
    assert sum("is about to end: its " in w for w in quiet.warnings) == waves
    assert "crash" not in trace.read_text(encoding="utf-8")
    assert outputs(config) == expected
