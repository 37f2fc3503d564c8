"""Images that were replaced, touched, removed or linked away between a run and its resume."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from engines_for_tests import PixelEngine
from synthetic import Quiet, picture

from odtk_ray import storage
from odtk_ray.config import InferConfig
from odtk_ray.errors import UsageError
from odtk_ray.run.outputs import Outputs
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.storage import object_stores

IMAGES = 70  # three shards


@pytest.fixture
def config(runs, checkpoint, tmp_path):
    """A run over a folder with sub-folders whose run folder stays, as if it were interrupted."""
    folder = tmp_path / "images"
    for seed in range(IMAGES):
        path = folder / f"{seed % 2}" / f"{seed:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, 64, 48).save(path)
    return InferConfig(
        str(checkpoint), images=str(folder), recursive=True, output=(str(tmp_path / "out.json"),),
        threads_per_worker=1, batch=4, resize=64, max_size=128, keep_run=True,
    )  # fmt: skip


def run(config):
    reporter = Quiet()
    return infer(config, reporter, PixelEngine), reporter


def resume(config):
    return run(replace(config, resume=True))


def fresh(config, tmp_path):
    """What a run finds that begins now."""
    infer(replace(config, output=(str(tmp_path / "fresh.json"),)), Quiet(), PixelEngine)
    return (tmp_path / "fresh.json").read_bytes()


def keep_time(path, change):
    before = os.stat(path)
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def shard_of(run_folder, name):
    plan = RunFolder.reopen(run_folder).plan
    index = plan.records["file_name"].to_pylist().index(name)
    (shard,) = [shard for shard in plan.shards if index in shard.rows]
    return len(shard)


def test_nothing_changed_and_nothing_is_said(config):
    run(config)
    summary, said = resume(config)
    assert summary.detected == 0
    assert said.warnings == []
    assert [note for note in said.notes if "since" in note or "than" in note] == []


def test_the_shard_of_a_replaced_image_runs_again(config, tmp_path):
    run(config)
    path = Path(config.images, "1", "07.png")
    was = path.stat().st_size
    keep_time(path, lambda: picture(999, 80, 60).save(path))
    rows = shard_of(config.run_folder, "1/07.png")
    summary, said = resume(config)
    assert said.warnings == [
        f"1 image was replaced since the run began, first 1/07.png ({was:,} bytes, now "
        f"{path.stat().st_size:,}): the {rows} images of the same shards are detected again"
    ]
    assert summary.detected == rows
    assert Path(config.output[0]).read_bytes() == fresh(config, tmp_path)
    summary, said = resume(config)  # it is known now
    assert (summary.detected, said.warnings) == (0, [])


def test_an_interrupted_resume_does_not_forget_it(config, tmp_path, monkeypatch):
    run(config)
    names = ("0/00.png", "1/69.png")
    for name in names:
        picture(998, 100, 60).save(Path(config.images, name))
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            resume(config)
    summary, said = resume(config)
    assert said.warnings == []  # the driver before has said it
    assert summary.detected == sum(shard_of(config.run_folder, name) for name in names)
    assert Path(config.output[0]).read_bytes() == fresh(config, tmp_path)


def interrupt(self, *receipts):
    raise KeyboardInterrupt


def test_another_time_alone_is_a_remark(config):
    run(config)
    os.utime(Path(config.images, "0", "02.png"), ns=(1, 1))
    summary, said = resume(config)
    assert (summary.detected, said.warnings) == (0, [])
    assert (
        "1 image has another time than when the run began, first 0/02.png, and the same size: what "
        "was detected is kept"
    ) in said.notes


def test_removed_images_are_a_remark(config):
    run(config)
    shutil.rmtree(Path(config.images, "1"))
    summary, said = resume(config)
    assert (summary.detected, summary.failed, said.warnings) == (0, 0, [])
    assert (
        "35 images were removed since the run began, first 1/01.png: what was detected is kept"
    ) in said.notes
    shutil.rmtree(config.images)
    summary, said = resume(config)
    assert (summary.detected, summary.failed) == (0, 0)
    assert said.warnings == [
        f"{config.images} cannot be listed: whether images were replaced since the run began is "
        "not known\n  hint: make it readable and resume again, or start a new run"
    ]


@pytest.mark.parametrize("what", ["1/07.png", "1"])
def test_a_link_out_of_the_folder_is_refused(config, tmp_path, what):
    run(config)
    path, outside = Path(config.images, what), tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(UsageError) as error:
        resume(config)
    first = "1/07.png" if what == "1/07.png" else "1/01.png"
    assert f"{first} is now a link that leads out of {config.images}" in str(error.value)
    path.unlink()
    outside.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))  # inside it may lead anywhere
    summary, _ = resume(config)
    assert summary.detected == 0


@pytest.mark.parametrize("kept", [False, True])
def test_lists_are_looked_at_only_for_a_run_that_may_be_updated(
    config, tmp_path, monkeypatch, kept
):
    """There a stamp costs a request for each image."""
    listed = tmp_path / "images.txt"
    listed.write_text(
        "".join(f"{path}\n" for path in sorted(Path(config.images).rglob("*.png"))),
        encoding="utf-8",
    )
    config = replace(config, images=str(listed), recursive=False, keep_run=kept)
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(Outputs, "publish", interrupt)
        run(config)
    assert Path(config.run_folder, "stamps.parquet").exists() == kept
    picture(997, 100, 60).save(tmp_path / "images" / "0" / "00.png")
    name = listed.read_text(encoding="utf-8").split()[0]
    rows = shard_of(config.run_folder, name) if kept else 0
    summary, said = resume(config)
    assert (summary.detected, len(said.warnings)) == (rows, int(kept))


def test_of_an_object_store_the_etag_tells(config, s3):
    uri = f"{s3.url}/images"
    for path in Path(config.images).rglob("*.png"):
        object_stores.put(f"{uri}/{path.relative_to(config.images)}", path.read_bytes())
    config = replace(config, images=uri)
    run(config)
    summary, said = resume(config)
    assert (summary.detected, said.warnings) == (0, [])
    data = storage.read_bytes(f"{uri}/0/04.png")
    object_stores.put(f"{uri}/0/04.png", data[:-1] + b"x")  # of the same length
    summary, said = resume(config)
    assert "first 0/04.png (its ETag is another): the 32 images of the same" in said.warnings[0]
    assert summary.detected == 32


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"x" * 100])
def test_damaged_stamps_are_refused(config, damage):
    run(config)
    Path(config.run_folder, "stamps.parquet").write_bytes(damage)
    with pytest.raises(UsageError, match=r"its stamps\.parquet is damaged"):
        resume(config)


def test_the_stamps_of_another_run_are_refused(config, tmp_path):
    run(config)
    other = replace(config, output=(str(tmp_path / "other.json"),), limit=5)
    run(other)
    shutil.copy(Path(other.run_folder, "stamps.parquet"), config.run_folder)
    with pytest.raises(UsageError, match=r"its stamps\.parquet is not that of its plan"):
        resume(config)
