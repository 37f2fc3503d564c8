"""Real processes are killed and real engines fail; every image ends up in the outputs once."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import pytest
from effort import long_case
from engines_for_tests import (
    CrowdedEngine,
    DoomedEngine,
    InfiniteEngine,
    PixelEngine,
    PoisonedEngine,
    RaisingEngine,
    SmallLaunchEngine,
    broken_factory,
    dying_factory,
)
from PIL import Image
from synthetic import picture

from odtk_ray.config import InferConfig
from odtk_ray.dispatch import dispatch
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.worker.shard_worker import CRASHED

POISON = 77


def setup_run(checkpoint, folder, images, workers=2, **more):
    return InferConfig(
        str(checkpoint),
        images=str(images),
        output=(str(folder / "out.jsonl"),),
        batch=2 * workers,
        workers=workers,
        threads_per_worker=1,
        resize=32,
        max_size=64,
        **more,
    )


@pytest.fixture
def images(tmp_path):
    """150 small pictures of one size."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(150):
        picture(seed, 40, 32).save(folder / f"{seed:03d}.png")
    return folder


def lines(folder):
    return [
        json.loads(line) for line in (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    ]


@pytest.mark.cluster
@pytest.mark.parametrize(("poisoned", "workers"), [((40,), 1), long_case((3, 4, 149), 2)])
def test_images_that_crash_the_worker_are_found_and_the_rest_is_detected(
    ray_session, checkpoint, images, tmp_path, quiet, poisoned, workers
):
    clean = tmp_path / "clean"
    clean.mkdir()
    infer(setup_run(checkpoint, clean, images, workers), quiet, PixelEngine)
    for number in poisoned:
        Image.new("RGB", (40, 32), (POISON,) * 3).save(images / f"{number:03d}.png")
    engine = functools.partial(PoisonedEngine, POISON)
    summary = infer(setup_run(checkpoint, tmp_path, images, workers), quiet, engine)
    assert summary.failed == len(poisoned)
    for number, (line, expected) in enumerate(zip(lines(tmp_path), lines(clean), strict=True)):
        if number in poisoned:
            assert line["error"] == CRASHED
            assert line["detections"] == []
        else:
            assert line == expected


@pytest.mark.cluster
@pytest.mark.long
def test_images_that_crash_only_together_are_detected_one_by_one(
    ray_session, checkpoint, images, tmp_path, quiet
):
    for number in (6, 7):  # one launch of two
        Image.new("RGB", (40, 32), (POISON,) * 3).save(images / f"{number:03d}.png")
    engine = functools.partial(CrowdedEngine, POISON)
    summary = infer(setup_run(checkpoint, tmp_path, images, limit=40), quiet, engine)
    assert summary.failed == 0
    assert len(lines(tmp_path)) == 40


@pytest.mark.cluster
@pytest.mark.long
def test_workers_that_die_of_everything_end_the_run(
    ray_session, checkpoint, images, tmp_path, quiet, monkeypatch
):
    monkeypatch.setattr(dispatch, "CRASHES_IN_A_ROW", 4)
    config = setup_run(checkpoint, tmp_path, images)
    with pytest.raises(OdtkError, match="the workers crash on every shard"):
        infer(config, quiet, DoomedEngine)
    resumed = setup_run(checkpoint, tmp_path, images, resume=True)
    assert infer(resumed, quiet, PixelEngine).failed == 0


@pytest.mark.cluster
@pytest.mark.parametrize(("happens", "why"), [
    ("die", "workers die of it"),
    long_case("memory", "they do not fit in memory"),
    long_case("raise", "RuntimeError: no algorithm"),
])  # fmt: skip
def test_a_launch_that_ends_a_worker_is_left_out_of_the_measuring(
    ray_session, checkpoint, images, tmp_path, quiet, happens, why
):
    """Whatever is measured of smaller ones, it is not the one that is taken."""
    config = replace(setup_run(checkpoint, tmp_path, images, limit=40, keep_run=True), batch="auto")
    engine = functools.partial(SmallLaunchEngine, 2, happens)
    assert infer(config, quiet, engine).failed == 0
    assert len(lines(tmp_path)) == 40
    plan = RunFolder.reopen(config.run_folder).plan
    assert [rate.launch for rate in plan.measured.rates[""]] == [1, 2]
    assert plan.settings.launch_batch <= 2
    assert any("launches of 4 images are left out: " in w and why in w for w in quiet.warnings)


def test_a_refused_resume_leaves_the_other_driver_alone(
    runs, checkpoint, images, tmp_path, quiet, monkeypatch
):
    commit = RunFolder.commit

    def interfered(self, *receipts):
        wrong = setup_run(checkpoint, tmp_path, images, resume=True, limit=7)
        with pytest.raises(UsageError, match="limit differs"):
            infer(wrong, quiet, PixelEngine)
        return commit(self, *receipts)

    monkeypatch.setattr(RunFolder, "commit", interfered)
    assert infer(setup_run(checkpoint, tmp_path, images), quiet, PixelEngine).failed == 0


@pytest.mark.cluster
def test_an_engine_that_raises_ends_the_run_and_can_be_resumed(
    ray_session, checkpoint, images, tmp_path, quiet
):
    config = setup_run(checkpoint, tmp_path, images)
    with pytest.raises(
        OdtkError, match=r"RuntimeError: the engine is out of order\n  hint: .*--resume"
    ):
        infer(config, quiet, RaisingEngine)
    assert not (tmp_path / "out.jsonl").exists()
    resumed = setup_run(checkpoint, tmp_path, images, resume=True)
    assert infer(resumed, quiet, PixelEngine).failed == 0
    assert len(lines(tmp_path)) == 150


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (broken_factory, "no such device"),
        long_case(dying_factory, "each died 3 times in a row"),
    ],
)
def test_workers_that_cannot_start_are_said(
    ray_session, checkpoint, images, tmp_path, quiet, factory, reason
):
    with pytest.raises(OdtkError, match=reason):
        infer(setup_run(checkpoint, tmp_path, images), quiet, factory)


def test_boxes_that_are_not_finite_fail_their_image(runs, checkpoint, images, tmp_path, quiet):
    summary = infer(setup_run(checkpoint, tmp_path, images, limit=3), quiet, InfiniteEngine)
    assert summary.failed == 3
    assert {line["error"] for line in lines(tmp_path)} == {
        "the model gave boxes that are not finite"
    }


def test_a_run_that_another_driver_took_over_stops(
    runs, checkpoint, images, tmp_path, quiet, monkeypatch
):
    commit = RunFolder.commit
    folder = tmp_path / "out.jsonl.run"

    def overtaken(self, *receipts):
        if not self.committed:
            RunFolder.reopen(str(folder)).take_over()
        return commit(self, *receipts)

    monkeypatch.setattr(RunFolder, "commit", overtaken)
    with pytest.raises(OdtkError, match="another run has taken over"):
        infer(setup_run(checkpoint, tmp_path, images), quiet, PixelEngine)
