"""What a run says is kept in its folder: by runs that end well, that fail, and that are stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engines_for_tests import PixelEngine, RaisingEngine
from synthetic import Acting, Quiet, picture

from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_status import read_status


@pytest.fixture
def config(checkpoint, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(40):
        picture(seed, 64, 48).save(folder / f"{seed:02d}.png")
    return InferConfig(
        str(checkpoint), images=str(folder), output=(str(tmp_path / "out.json"),),
        threads_per_worker=1, resize=64, max_size=128, local=True, keep_run=True,
    )  # fmt: skip


def kinds(status, epoch=1):
    return [event.kind for event in status.events if event.epoch == epoch]


def test_everything_that_is_said_is_kept(config):
    reporter = Quiet()
    infer(config, reporter, PixelEngine)
    found = read_status(config.run_folder)
    said = [event.text for event in found.events if event.kind == "stage"]
    assert said == reporter.stages
    notes = [event.text for event in found.events if event.kind in ("note", "warning")]
    assert notes == [text.split("\n")[0] for text in reporter.notes + reporter.warnings]
    assert (found.state, found.done) == ("finished", 40)
    assert kinds(found)[-1] == "finished"
    times = [event.at for event in found.events]
    assert times == sorted(times)


def test_a_run_without_events_to_keep_leaves_no_folder(config):
    infer(replace(config, keep_run=False), Quiet(), PixelEngine)
    with pytest.raises(OdtkError, match="is no run folder"):
        read_status(config.run_folder)


def stop():
    raise KeyboardInterrupt


def test_a_stopped_run_says_so_until_it_is_resumed(config):
    with pytest.raises(KeyboardInterrupt):
        infer(config, Acting(stop), PixelEngine)
    found = read_status(config.run_folder)
    assert found.state == "stopped"
    assert found.events[-1].text == "it was asked to"
    infer(replace(config, resume=True), Quiet(), PixelEngine)
    found = read_status(config.run_folder)
    assert (found.state, found.drivers, found.done) == ("finished", 2, 40)
    assert kinds(found, 2).count("begin") == 1


def test_a_run_that_fails_says_why(config):
    with pytest.raises(OdtkError) as caught:
        infer(config, Quiet(), RaisingEngine)
    found = read_status(config.run_folder)
    assert found.state == "stopped"
    assert found.events[-1].text == caught.value.sentence
