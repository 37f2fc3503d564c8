"""An update whose workers, or some of them, are of another kind than the earlier run's."""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import replace

import pytest
from engines_for_tests import NamedEngine
from synthetic import Quiet, picture

from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError
from odtk_ray.run.pipeline import infer

pytestmark = pytest.mark.cluster


def run(config, model, folder, report):
    """A run whose engines have the name of its model's file as their key."""
    folder.mkdir(exist_ok=True)
    config = replace(config, model=str(model))
    return infer(config, report, functools.partial(NamedEngine, str(folder), 1))


def test_an_update_ends_where_all_workers_are_of_another_kind(
    ray_session, checkpoint, tmp_path, quiet
):
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(8):
        picture(seed, 40, 32).save(images / f"{seed:03d}.png")
    config = InferConfig(
        "", images=str(images), output=(str(tmp_path / "out.json"),),
        threads_per_worker=1, workers=2, keep_run=True,
    )  # fmt: skip
    names = [shutil.copy(checkpoint, tmp_path / name) for name in ("A100", "H100")]
    run(config, names[0], tmp_path / "signs", Quiet())
    picture(9, 40, 32).save(images / "009.png")
    update = replace(config, output=(str(tmp_path / "new.json"),), update=config.output[0])
    left = sorted(os.listdir(tmp_path))
    with pytest.raises(OdtkError) as caught:
        run(update, names[1], tmp_path / "signs", quiet)
    assert caught.value.sentence.startswith("no worker is left: ")
    assert "computes with H100, and what --update takes over is from A100" in caught.value.why
    assert "leave --update out to run all images" in caught.value.hint
    assert sorted(os.listdir(tmp_path)) == left
