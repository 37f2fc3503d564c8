"""Outputs that are written while a run's shards come in."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from synthetic import commit_shard, make_results, make_run, make_run_plan

from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError
from odtk_ray.run.outputs import Outputs, write_outputs
from odtk_ray.shards.run_folder import RunFolder

IMAGES = 3000
IDS = list(range(IMAGES))
NAMES = ("a.json", "a.jsonl", "a.parquet")


class Committing:
    """A run whose shards are made up and committed through its outputs."""

    def __init__(self, run: RunFolder, outputs: Outputs) -> None:
        self.path, self.digest = run.path, run.digest
        self.commit = outputs.commit


def settings(folder: Path) -> InferConfig:
    return InferConfig("m.pth", output=tuple(str(folder / name) for name in NAMES))


def drafts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tmp"))


def wait_until(condition) -> None:
    while not condition():  # the test's timeout ends this
        time.sleep(0.01)


@pytest.fixture
def results():
    return make_results(IMAGES)


def test_shards_may_be_committed_in_any_order(tmp_path, results):
    whole = make_run(tmp_path / "whole.run", IDS, results)
    (tmp_path / "whole").mkdir()
    write_outputs(settings(tmp_path / "whole"), whole)
    run = RunFolder.create(str(tmp_path / "run"), make_run_plan(IDS))
    order = list(run.plan.shards)
    random.Random(0).shuffle(order)
    with Outputs(settings(tmp_path), run) as outputs:
        for shard in order:
            commit_shard(Committing(run, outputs), shard, results)
        outputs.publish()
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert drafts(tmp_path) == []


def test_records_are_written_as_soon_as_those_before_them_are_there(tmp_path, results):
    run = RunFolder.create(str(tmp_path / "run"), make_run_plan(IDS))
    *most, last = run.plan.shards
    with Outputs(settings(tmp_path), run) as outputs:
        for shard in most:
            commit_shard(Committing(run, outputs), shard, results)
        wait_until(lambda: [path for path in drafts(tmp_path) if path.stat().st_size > 10_000])
        assert not (tmp_path / "a.json").exists()
        commit_shard(Committing(run, outputs), last, results)
        outputs.publish()
    assert (tmp_path / "a.json").stat().st_size > 100_000


def test_what_is_not_published_is_gone(tmp_path, results):
    run = RunFolder.create(str(tmp_path / "run"), make_run_plan(IDS))
    with Outputs(settings(tmp_path), run) as outputs:
        commit_shard(Committing(run, outputs), run.plan.shards[0], results)
        wait_until(lambda: len(drafts(tmp_path)) == len(NAMES))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_shard_that_never_comes_is_an_error(tmp_path, results):
    run = RunFolder.create(str(tmp_path / "run"), make_run_plan(IDS))
    for shard in run.plan.shards[1:]:
        commit_shard(run, shard, results)
    with pytest.raises(OdtkError, match="results of shard 0: it was never committed"):
        write_outputs(settings(tmp_path), run)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_driver_removes_what_one_before_it_left(tmp_path, results):
    run = make_run(tmp_path / "run", IDS, results)
    killed = Outputs(settings(tmp_path), run)
    wait_until(lambda: len(drafts(tmp_path)) == len(NAMES))
    left = drafts(tmp_path)
    killed._thread.shutdown()  # all that a kill leaves of it are its files
    other = tmp_path / "a.json.0-1.tmp"
    other.touch()
    assert drafts(tmp_path) == sorted([*left, other])
    again = RunFolder.reopen(str(tmp_path / "run"))
    again.take_over()
    write_outputs(settings(tmp_path), again)
    assert drafts(tmp_path) == [other]


def test_a_failed_output_leaves_its_room_at_once(tmp_path, results):
    run = RunFolder.create(str(tmp_path / "run"), make_run_plan(IDS))
    config = InferConfig("m.pth", output=(str(tmp_path / "a.json"), str(tmp_path / "gone/a.csv")))
    with Outputs(config, run) as outputs:
        wait_until(outputs._written.done)
        assert drafts(tmp_path) == []
        for shard in run.plan.shards:
            commit_shard(Committing(run, outputs), shard, results)
        with pytest.raises(OdtkError, match="cannot write the outputs"):
            outputs.publish()
    assert len(run.committed) == len(run.plan.shards)
