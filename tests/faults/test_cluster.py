"""Faults of a simulated cluster: nodes that go and come, workers that hang, storage that stops."""

from __future__ import annotations

import functools
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from effort import long_case
from engines_for_tests import (
    GatheringEngine,
    HangingEngine,
    HangingOnceEngine,
    PixelEngine,
    SlowEngine,
    limited_factory,
)
from PIL import Image
from synthetic import Acting, picture

from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.storage import object_stores, retry
from odtk_ray.worker.shard_worker import CRASHED

pytestmark = pytest.mark.cluster

POISON = 77


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """200 small pictures of one size: seven shards."""
    folder = tmp_path_factory.mktemp("images")
    for seed in range(200):
        picture(seed, 40, 32).save(folder / f"{seed:03d}.png")
    return folder


def setup_run(checkpoint, folder, images, workers=2, **more):
    return InferConfig(
        str(checkpoint),
        images=str(images),
        output=(str(folder / "out.json"), str(folder / "out.jsonl")),
        batch=4,
        workers=workers,
        threads_per_worker=1,
        resize=32,
        max_size=64,
        **more,
    )


def outputs(config):
    return [storage.read_bytes(path) for path in config.output]


@pytest.fixture
def undisturbed(ray_session, checkpoint, images, tmp_path, quiet):
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    config = setup_run(checkpoint, folder, images)
    infer(config, quiet, PixelEngine)
    return outputs(config)


def at_commit(monkeypatch, number, action):
    """Do something just before the run's commit of that number, from 1."""
    commit, count = RunFolder.commit, iter(range(1, 1 << 30))

    def acted(self, *receipts):
        if next(count) == number:
            action()
        return commit(self, *receipts)

    monkeypatch.setattr(RunFolder, "commit", acted)


@pytest.mark.parametrize(
    "seconds", [long_case(None), 60]
)  # of the process, and of its engine alone
def test_a_worker_that_hangs_is_replaced(undisturbed, checkpoint, images, tmp_path, quiet, seconds):
    config = setup_run(checkpoint, tmp_path, images, shard_timeout=6)
    marker = tmp_path / "hung"
    engine = functools.partial(HangingOnceEngine, str(marker), seconds)
    infer(config, quiet, engine)
    assert marker.exists()
    assert not Path(f"{marker}-outlived").exists()
    said = "hangs and is replaced: no image was done for 6 s"
    assert any(said in warning for warning in quiet.warnings)
    assert outputs(config) == undisturbed


@pytest.mark.long
def test_an_image_that_hangs_every_worker_is_found(ray_session, checkpoint, tmp_path, quiet):
    folder = tmp_path / "few"
    folder.mkdir()
    for seed in range(3):
        picture(seed, 40, 32).save(folder / f"{seed}.png")
    Image.new("RGB", (40, 32), (POISON,) * 3).save(folder / "1.png")
    config = setup_run(checkpoint, tmp_path, folder, shard_timeout=15)
    summary = infer(config, quiet, functools.partial(HangingEngine, POISON))
    assert summary.failed == 1
    failures = (Path(f"{config.output[0][:-5]}.failures.jsonl")).read_text(encoding="utf-8")
    assert '"file_name": "1.png"' in failures
    assert CRASHED in failures


@pytest.mark.long
def test_an_image_of_many_tiles_may_take_longer_than_a_hang(
    ray_session, checkpoint, tmp_path, quiet
):
    """64 tiles in 16 launches of a second each, where 10 s without any end a worker."""
    folder = tmp_path / "large"
    folder.mkdir()
    picture(0, 256, 256).save(folder / "a.png")
    config = setup_run(checkpoint, tmp_path, folder, workers=1, shard_timeout=10)
    config = replace(config, tile=32)
    assert infer(config, quiet, functools.partial(SlowEngine, 1.0)).failed == 0
    assert quiet.warnings == []


@pytest.mark.long
def test_a_full_disk_ends_the_run_and_a_resume_completes_it(
    undisturbed, checkpoint, images, tmp_path, quiet
):
    config = setup_run(checkpoint, tmp_path, images)
    engine = functools.partial(limited_factory, str(tmp_path / "limited"), 1000)
    with pytest.raises(OdtkError, match=r"File too large"):
        infer(config, quiet, engine)
    assert not Path(config.output[0]).exists()
    assert list(Path(config.run_folder).rglob("*.tmp")) == []
    infer(replace(config, resume=True), quiet, PixelEngine)
    assert outputs(config) == undisturbed


def test_storage_that_stops_and_returns_costs_no_image(
    undisturbed, checkpoint, images, tmp_path, quiet, monkeypatch, s3
):
    for path in images.iterdir():
        object_stores.put(f"{s3.url}/images/{path.name}", path.read_bytes())
    config = replace(
        setup_run(checkpoint, tmp_path, images),
        images=f"{s3.url}/images",
        output=(f"{s3.url}/out.json", f"{s3.url}/out.jsonl"),
    )

    def outage():
        s3.server.stop()
        threading.Timer(8, s3.server.start).start()

    at_commit(monkeypatch, 2, outage)
    summary = infer(config, quiet, functools.partial(SlowEngine, 0.05))
    assert summary.failed == 0
    assert outputs(config) == undisturbed


def on_cluster(config, cluster, **more):
    return replace(config, workers=None, address=cluster.address, **more)


def test_a_node_that_is_lost_and_one_that_joins(
    checkpoint, images, tmp_path, quiet, monkeypatch, cluster
):
    """One of two nodes goes in mid-run; then a third one comes, and gets a worker in time."""
    calm = tmp_path / "calm"
    calm.mkdir()
    first, second = cluster.add(), cluster.add()
    config = on_cluster(setup_run(checkpoint, tmp_path, images), cluster)
    reference = replace(config, output=tuple(str(calm / Path(p).name) for p in config.output))
    infer(reference, quiet, PixelEngine)
    joined = threading.Event()

    def lose():
        cluster.remove(second)
        cluster.remove(first)
        cluster.add()
        joined.set()

    at_commit(monkeypatch, 2, lose)
    summary = infer(config, quiet, functools.partial(SlowEngine, 0.1))
    assert joined.is_set()
    assert summary.failed == 0
    assert outputs(config) == outputs(reference)


def test_a_node_that_cannot_see_the_storage_is_named(
    checkpoint, images, tmp_path, quiet, monkeypatch, cluster, s3
):
    monkeypatch.setattr(retry, "OUTAGE", 1.0)
    cluster.add(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    config = on_cluster(setup_run(checkpoint, tmp_path, images), cluster, run_dir=f"{s3.url}/run")
    with pytest.raises(OdtkError, match=r"on a worker: node \S+ \(.+\) cannot read the run folder"):
        infer(config, quiet, PixelEngine)


@pytest.mark.long
def test_a_node_that_joins_gets_a_worker(checkpoint, images, tmp_path, cluster):
    cluster.add()
    config = on_cluster(setup_run(checkpoint, tmp_path, images), cluster)
    seen = tmp_path / "seen"
    seen.mkdir()
    infer(config, Acting(cluster.add), functools.partial(GatheringEngine, str(seen), 2))
    assert len(list(seen.iterdir())) == 2
