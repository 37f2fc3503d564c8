"""Shards that wait behind others are recalled for workers that have nothing to do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from engines_for_tests import PixelEngine
from synthetic import make_run_plan, picture, run_settings
from workers_for_tests import HoldingWorker, LateWorker

from odtk_ray.cluster.actor import WATCH
from odtk_ray.cluster.dispatcher import Dispatcher
from odtk_ray.cluster.observer import Observer
from odtk_ray.cluster.shard_blocks import ShardRef
from odtk_ray.dispatch.worker_state import DEPTH
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.settings import Preprocessing
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.worker.shard_work import ShardWork, WorkerSettings
from odtk_ray.worker.shard_worker import ShardWorker
from odtk_ray.worker.warm_up import Needs

IMAGES = 32  # a shard
PREP = Preprocessing(resize=32, max_size=64)


class HeldEngine(PixelEngine):
    """Detects nothing before it is let go."""

    def __init__(self):
        super().__init__(settings=run_settings(preprocessing=PREP))
        self.begun, self.go = threading.Event(), threading.Event()

    def detect(self, pictures, shape):
        self.begun.set()
        self.go.wait()
        return super().detect(pictures, shape)


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(str(tmp_path / "run"), make_run_plan(list(range(2 * IMAGES))))


@pytest.fixture
def block(tmp_path):
    """Two shards' rows."""
    rows = []
    for index in range(2 * IMAGES):
        path = tmp_path / f"{index}.png"
        picture(index, 40, 32).save(path)
        rows.append({"index": index, "path": str(path), "width": 40, "height": 32})
    return pa.Table.from_pylist(rows)


def test_a_worker_leaves_a_shard_alone_that_it_has_not_begun(folder, block):
    engine = HeldEngine()
    settings = WorkerSettings(
        run_dir=folder.path,
        token_file=folder.token_file,
        token=folder.token,
        canary=None,
        digest=folder.digest,
        run=run_settings(preprocessing=PREP, launch_batch=2),
    )
    worker = ShardWorker("here", Needs())
    worker.prepare(settings, EngineLoader("", "", "auto", settings.run, make=lambda *_: engine))

    def run(shard):
        work = ShardWork(shard * IMAGES, IMAGES, shard, f"1.{shard}", frozenset(), singly=False)
        return worker.run(block, work)

    with ThreadPoolExecutor(DEPTH) as pool:
        first = pool.submit(run, 0)
        engine.begun.wait()
        second = pool.submit(run, 1)
        worker.recall(0)  # too late
        worker.recall(1)
        engine.go.set()
        assert first.result().rows == IMAGES
        assert second.result() is None
    assert run(1).rows == IMAGES  # it may get it again


@pytest.mark.cluster
def test_the_driver_recalls_what_waits_and_gives_it_to_an_idle_worker(ray_session, tmp_path):
    """The first worker ends its first shard when the other one has done what waited behind it."""
    import ray

    others = range(1, 5)
    starts = iter(
        [
            (HoldingWorker, "holding", tmp_path, [f"late-{shard}" for shard in others]),
            (LateWorker, "late", tmp_path),
        ]
    )

    def start():
        kind, *arguments = next(starts)
        options = {"max_concurrency": DEPTH, "concurrency_groups": {WATCH: 1}}
        actor = ray.remote(num_cpus=0, **options)(kind).remote(*arguments)
        return actor, actor.progress.remote()

    block, receipts = ray.put(None), []
    Dispatcher(
        start,
        2,
        {shard: ShardRef(block, 0, IMAGES) for shard in (0, *others)},
        {shard: np.arange(IMAGES) for shard in (0, *others)},
        epoch=1,
        commit=lambda *more: receipts.extend(more),
        progress=lambda images, windows: None,
        warn=pytest.fail,
        observer=Observer(None),
    ).run((0, *others))
    assert {(receipt.shard, receipt.engine) for receipt in receipts} == {
        (0, "holding"), *((shard, "late") for shard in others)
    }  # fmt: skip
    assert len(receipts) == 5
