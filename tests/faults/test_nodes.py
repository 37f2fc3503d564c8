"""Nodes that are lost with many workers, that cannot do their part, that are about to end."""

from __future__ import annotations

import functools
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from effort import long_case
from engines_for_tests import PixelEngine, SlowEngine
from synthetic import picture

import odtk_ray
from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.storage import retry

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
    from synthetic import Quiet

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


@pytest.mark.parametrize("workers", [4, long_case(22)])
def test_a_node_that_is_lost_with_many_workers_is_one_event(
    checkpoint, images, tmp_path, quiet, monkeypatch, cluster, expected, workers
):
    """They are more than half of all, and hold shards; nothing is suspected, or given up."""
    large = cluster.add(gpus=workers)
    cluster.add(gpus=2)
    config = setup_run(checkpoint, tmp_path, images, address=cluster.address)
    at_commits(monkeypatch, {2: lambda: cluster.remove(large)})
    assert infer(config, quiet, slow()).failed == 0
    (warning,) = quiet.warnings
    assert warning.endswith(f"is lost: its {workers} workers start again")
    assert outputs(config) == expected


@pytest.fixture
def another_version(tmp_path):
    """A folder with this package as another version."""
    copy = tmp_path / "other" / "odtk_ray"
    shutil.copytree(Path(odtk_ray.__file__).parent, copy)
    init = copy / "__init__.py"
    init.write_text(
        init.read_text(encoding="utf-8").replace(odtk_ray.__version__, "0.0.9"), encoding="utf-8"
    )
    return str(copy.parent)


@pytest.mark.parametrize("joins", [True, False])
def test_bad_nodes_are_left_out_by_name_and_cause(
    checkpoint, images, tmp_path, quiet, monkeypatch, cluster, another_version, s3, joins
):
    """Those without the run's storage, and with another version, or without any; late, or first."""
    monkeypatch.setattr(retry, "OUTAGE", 1.0)
    empty = tmp_path / "nothing"
    (empty / "odtk_ray").mkdir(parents=True)
    bad = [
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        {"PYTHONPATH": another_version},
        {"PYTHONPATH": str(empty)},
    ]
    added = threading.Event()

    def add_bad():
        for variables in bad:
            cluster.add(**variables)
        added.set()

    if not joins:
        add_bad()
    cluster.add()
    config = setup_run(checkpoint, tmp_path, images, address=cluster.address, run_dir=f"{s3.url}/r")
    at_commits(monkeypatch, {1: add_bad} if joins else {})
    summary = infer(config, quiet, slow(0.5))
    assert added.is_set()
    assert summary.failed == 0
    print(*quiet.warnings, sep="\n")


def test_a_run_ends_when_no_node_works(checkpoint, images, tmp_path, quiet, cluster, s3):
    for _ in range(2):
        cluster.add(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    config = setup_run(checkpoint, tmp_path, images, address=cluster.address, run_dir=f"{s3.url}/r")
    with pytest.raises(OdtkError, match=r"on a worker: node \S+ \(.+\) cannot read the run folder"):
        infer(config, quiet, PixelEngine)
    assert len(quiet.warnings) == 1


