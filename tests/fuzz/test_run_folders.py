"""Run folders that were edited, mixed or damaged: resumed with the right results, or refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil

import pytest
from effort import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from mutations import VALUES, damaged, edited, edited_text, one_sentence
from synthetic import make_results, make_run

from odtk_ray.errors import OdtkError
from odtk_ray.shards.image_stamps import ImageStamps, write_stamps
from odtk_ray.shards.merge import merge_shards
from odtk_ray.shards.run_folder import RunFolder

IMAGES = 40
fuzz = examples(200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A finished run with stamps, and one over other images."""
    path = tmp_path_factory.mktemp("runs")
    for name, first in (("good", 0), ("other", 1)):
        ids = list(range(first, first + IMAGES))
        run = make_run(path / name, ids, make_results(IMAGES, seed=first))
        folder = path / "images"
        folder.mkdir(exist_ok=True)
        write_stamps(run.path, ImageStamps.of(str(folder), list(map(str, ids)), recursive=False))
    return path


@contextlib.contextmanager
def copy_of(good, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(good / "good", path)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def rows(run):
    found = [table.results.to_pylist() for table in merge_shards(run)]
    return [row for part in found for row in part]


def resume(path):
    """Reopen a folder; the rows of the shards that count."""
    run = RunFolder.reopen(str(path))
    run.take_over()
    for shard in run.missing_shards():  # which a worker would detect again
        raise OdtkError("shards are missing", f"shard {shard.number}")
    return rows(run)


@fuzz
@given(data=st.data())
def test_any_file_edited_or_damaged(good, tmp_path, data):
    """What is resumed after all has the results that were there."""
    with copy_of(good, tmp_path) as path:
        files = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
        file = path / data.draw(st.sampled_from(files))
        content = file.read_bytes()
        if file.suffix == ".json":
            file.write_bytes(edited_text(data.draw, content))
        elif file.suffix == ".jsonl":
            lines = content.splitlines()
            at = data.draw(st.integers(0, len(lines) - 1))
            lines[at] = edited_text(data.draw, lines[at])
            file.write_bytes(b"\n".join(lines) + b"\n")
        else:
            file.write_bytes(damaged(data.draw, content))
        with one_sentence():
            found = resume(path)
            assert found == rows(RunFolder.reopen(str(good / "good")))


@fuzz
@given(data=st.data())
def test_files_of_two_runs(good, tmp_path, data):
    with copy_of(good, tmp_path) as path:
        other = good / "other"
        files = sorted(file.relative_to(other) for file in other.rglob("*") if file.is_file())
        for file in data.draw(st.sets(st.sampled_from(files), min_size=1)):
            shutil.copy(other / file, path / file)
        with one_sentence():
            resume(path)


@fuzz
@given(data=st.data())
def test_edits_whose_hashes_are_right(good, tmp_path, data):
    """As a program would write them that knows the format."""
    with copy_of(good, tmp_path) as path:
        document = edited(data.draw, json.loads((path / "plan.json").read_text(encoding="utf-8")))
        with contextlib.suppress(TypeError, ValueError):
            (path / "plan.json").write_text(json.dumps(document), encoding="utf-8")
        digest = hashlib.sha256((path / "plan.json").read_bytes()).hexdigest()
        (path / "epoch-0001").write_text(f"{'0' * 32}-{digest}", encoding="utf-8")
        with one_sentence():
            resume(path)


@fuzz
@given(data=st.data())
def test_names_and_epochs(good, tmp_path, data):
    with copy_of(good, tmp_path) as path:
        digits = data.draw(st.integers(0, 10**23).map(str) | st.text("0123456789²٣", max_size=30))
        (path / f"epoch-{digits}").write_text(
            str(data.draw(VALUES)).replace("\ud800", ""), encoding="utf-8"
        )
        with one_sentence():
            resume(path)
