"""Whole runs on an object store: model, annotations, images, run folder and outputs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from engines_for_tests import PixelEngine
from synthetic import figures

from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.run.pipeline import infer
from odtk_ray.run.update_run import UpdateCounts
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.storage import object_stores
from odtk_ray.storage.stamps import list_stamps

OUTPUTS = ("out.json", "out.jsonl", "out.parquet")


@pytest.fixture
def local(checkpoint, photos, annotations, tmp_path):
    """A run on local files, and its outputs' folder."""
    folder = tmp_path / "local"
    folder.mkdir()
    return InferConfig(
        str(checkpoint),
        images=str(photos),
        annotations=str(annotations),
        output=tuple(str(folder / name) for name in OUTPUTS),
        workers=2,
        threads_per_worker=1,
        batch=4,
        resize=64,
        max_size=128,
    )


@pytest.fixture
def remote(local, s3):
    """The same run with everything in a bucket."""
    for path in Path(local.images).iterdir():
        object_stores.put(f"{s3.url}/images/{path.name}", path.read_bytes())
    object_stores.upload(local.model, f"{s3.url}/model.pth")
    object_stores.upload(local.annotations, f"{s3.url}/boxes.json")
    return replace(
        local,
        model=f"{s3.url}/model.pth",
        images=f"{s3.url}/images",
        annotations=f"{s3.url}/boxes.json",
        output=tuple(f"{s3.url}/results/{name}" for name in OUTPUTS),
    )


def same_outputs(remote, local):
    for there, here in zip(remote.output, local.output, strict=True):
        assert storage.read_bytes(there) == Path(here).read_bytes()


@pytest.mark.cluster
def test_everything_in_a_bucket_gives_the_bytes_of_local_files(
    ray_session, local, remote, s3, quiet
):
    infer(local, quiet)
    summary = infer(replace(remote, draw=f"{s3.url}/drawn"), quiet)
    assert summary.images == 26
    assert summary.failed == 0
    same_outputs(remote, local)
    metrics = storage.read_bytes(f"{s3.url}/results/out.metrics.json")
    here = Path(local.output[0]).with_name("out.metrics.json")
    assert figures(metrics) == figures(here.read_bytes())
    assert len(storage.list_files(f"{s3.url}/drawn", recursive=False).names) == 26
    names = storage.list_files(f"{s3.url}/results", recursive=True).names
    assert sorted(names) == sorted(["out.metrics.json", *OUTPUTS])  # the run folder is gone


def test_a_run_in_a_bucket_is_resumed_with_what_it_committed(
    runs, local, remote, quiet, monkeypatch
):
    infer(local, quiet, PixelEngine)
    commit = RunFolder.commit

    def die_after_one(self, *receipts):
        commit(self, receipts[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "commit", die_after_one)
    with pytest.raises(KeyboardInterrupt):
        infer(remote, quiet, PixelEngine)
    monkeypatch.setattr(RunFolder, "commit", commit)
    with pytest.raises(UsageError, match="exists"):
        infer(remote, quiet, PixelEngine)
    resumed = RunFolder.reopen(remote.run_folder)
    resumed.take_over()
    assert (resumed.epoch, len(resumed.committed)) == (2, 1)
    done = next(iter(resumed.committed.values()))
    summary = infer(replace(remote, resume=True), quiet, PixelEngine)
    assert summary.detected == 26 - done.rows
    same_outputs(remote, local)


def test_the_older_of_two_drivers_on_one_bucket_stops(runs, remote, quiet, monkeypatch):
    commit = RunFolder.commit

    def overtaken(self, *receipts):
        if not self.committed:
            RunFolder.reopen(self.path).take_over()
        return commit(self, *receipts)

    monkeypatch.setattr(RunFolder, "commit", overtaken)
    with pytest.raises(OdtkError, match="another run has taken over"):
        infer(remote, quiet, PixelEngine)
    again = RunFolder.reopen(remote.run_folder)
    again.take_over()
    assert again.committed == {}


def test_what_a_half_removed_run_left_is_no_run(runs, local, remote, quiet):
    infer(local, quiet, PixelEngine)
    infer(replace(remote, keep_run=True), quiet, PixelEngine)
    object_stores.remove(f"{remote.run_folder}/plan.json")
    infer(remote, quiet, PixelEngine)
    same_outputs(remote, local)
    assert not storage.exists(remote.run_folder)


def test_a_bucket_that_is_not_there_is_refused_before_any_work(runs, remote, quiet):
    outputs = ("s3://no-such-bucket-anywhere/out.json",)
    with pytest.raises(UsageError, match=r"cannot write s3://no-such-bucket-anywhere/out\.json"):
        infer(replace(remote, output=outputs), quiet, PixelEngine)


def test_an_update_is_a_run_over_all(runs, remote, quiet):
    """By ETags: an object that was written again is another only where its content is."""
    first = replace(remote, annotations=None, keep_run=True)
    infer(first, quiet, PixelEngine)
    names = sorted(name for name, _ in list_stamps(remote.images, recursive=False))
    contents = [storage.read_bytes(f"{remote.images}/{name}") for name in names[:3]]
    object_stores.put(f"{remote.images}/{names[0]}", contents[0])
    object_stores.put(f"{remote.images}/{names[1]}", contents[2])
    object_stores.put(f"{remote.images}/new.jpg", contents[1])
    object_stores.remove(f"{remote.images}/{names[4]}")
    outputs = tuple(path.replace("/results/", "/later/") for path in remote.output)
    later = replace(first, output=outputs, update=first.output[0], keep_run=False)
    summary = infer(later, quiet, PixelEngine)
    assert summary.update == UpdateCounts(reused=24, new=1, changed=1, failed=0, gone=1)
    outputs = tuple(path.replace("/results/", "/fresh/") for path in remote.output)
    infer(replace(first, output=outputs, keep_run=False), quiet, PixelEngine)
    for updated, fresh in zip(later.output, outputs, strict=True):
        assert storage.read_bytes(updated) == storage.read_bytes(fresh)
    again = infer(replace(later, update=later.output[0], output=first.output[:1],
                          run_dir=f"{remote.output[0]}.third"), quiet, PixelEngine)  # fmt: skip
    assert (again.detected, again.update.reused) == (0, 26)
    with pytest.raises(UsageError, match="in place: its run folder is on an object store"):
        infer(replace(later, update=later.output[0]), quiet, PixelEngine)


def test_objects_of_a_list_are_asked_for_their_stamps(runs, remote, quiet, tmp_path):
    names = sorted(name for name, _ in list_stamps(remote.images, recursive=False))[:4]
    file = tmp_path / "list.txt"
    file.write_text("".join(f"{remote.images}/{name}\n" for name in names), encoding="utf-8")
    first = replace(remote, images=str(file), annotations=None, keep_run=True)
    infer(first, quiet, PixelEngine)
    object_stores.put(
        f"{remote.images}/{names[0]}", storage.read_bytes(f"{remote.images}/p009.jpg")
    )
    later = replace(first, output=(str(tmp_path / "out.json"),), update=first.output[0])
    summary = infer(later, quiet, PixelEngine)
    assert (summary.update.reused, summary.update.changed) == (3, 1)


@pytest.mark.cluster
def test_a_worker_that_cannot_see_the_run_folder_names_its_node(
    ray_session, local, quiet, monkeypatch
):
    take_over = RunFolder.take_over

    def hide(self):
        take_over(self)
        shutil.move(self.token_file, f"{self.token_file}.hidden")

    monkeypatch.setattr(RunFolder, "take_over", hide)
    with pytest.raises(OdtkError, match=r"on a worker: node \S+ \(.+\) cannot read the run folder"):
        infer(local, quiet, PixelEngine)
