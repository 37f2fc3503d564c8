from __future__ import annotations

import functools

import pytest
from engines_for_tests import SlowEngine
from synthetic import picture

from odtk_ray.config import InferConfig
from odtk_ray.run.pipeline import infer


@pytest.mark.cluster
def test_progress_comes_by_batch_not_by_shard(ray_session, checkpoint, tmp_path, quiet):
    """24 pictures make one shard of 12 launches; its images are counted while it runs."""
    for seed in range(24):
        picture(seed, 40, 32).save(tmp_path / f"{seed:02d}.png")
    config = InferConfig(
        str(checkpoint),
        images=str(tmp_path),
        output=(str(tmp_path / "out.json"),),
        workers=1,
        batch=2,
        threads_per_worker=1,
        resize=32,
        max_size=64,
    )
    infer(config, quiet, functools.partial(SlowEngine, 0.4))
    assert quiet.windows_seen == []
    done = [images for images, _ in quiet.seen]
    assert done[0] == 0
    assert done[-1] == 24
    assert set(done) - {0, 24}
    assert done == sorted(done)


@pytest.mark.cluster
def test_the_windows_of_one_large_picture_are_counted(ray_session, checkpoint, tmp_path, quiet):
    """It has 9 x 7 windows: 32 launches."""
    picture(1, 600, 450).save(tmp_path / "large.png")
    config = InferConfig(
        str(checkpoint),
        images=str(tmp_path),
        output=(str(tmp_path / "out.json"),),
        workers=1,
        batch=2,
        threads_per_worker=1,
        tile=72,
        overlap=6,
        resize=72,
        max_size=72,
    )
    infer(config, quiet, functools.partial(SlowEngine, 0.1))
    assert {total for _, total in quiet.windows_seen} == {63}
    done = [windows for windows, _ in quiet.windows_seen]
    assert done == sorted(done)
    assert len(set(done) - {0, 63}) > 1  # seen on the way
