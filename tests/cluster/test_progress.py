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
        batch=2,
        threads_per_worker=1,
        resize=32,
        max_size=64,
    )
    infer(config, quiet, functools.partial(SlowEngine, 0.4))
    done = [images for images, _ in quiet.seen]
    assert done[0] == 0
    assert done[-1] == 24
    assert set(done) - {0, 24}
    assert done == sorted(done)
