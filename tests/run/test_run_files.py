"""A run replaces nothing but its own earlier output, and says so before any work is done."""

from __future__ import annotations

import json
import os

import pytest

from odtk_ray.config import InferConfig
from odtk_ray.errors import UsageError
from odtk_ray.run.run_files import check_files, failures_path, metrics_path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with an input of each kind; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("model.pth", "truth.json", "list.txt", "set/engines.json", "photos/a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff\xe0" if name.endswith("jpg") else b"{}")
    return tmp_path


def config(model="model.pth", **options):
    return InferConfig(model, **{"images": "photos", "annotations": "truth.json"} | options)


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): path.lstat().st_mtime_ns if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"output": ("truth.json",)}, ("--output", "--annotations")),
        ({"output": ("a.json", "./photos/../truth.json")}, ("--output", "--annotations")),
        ({"trace": "model.pth"}, ("--trace", "MODEL")),
        ({"trace": "truth.json"}, ("--trace", "--annotations")),
        ({"images": "list.txt", "trace": "list.txt"}, ("--trace", "--images")),
        ({"draw": "photos"}, ("--draw", "--images")),
        ({"run_dir": "photos"}, ("--run-dir", "--images")),
        ({"model": "set", "fallback": "x.pth", "trace": "x.pth"}, ("--trace", "--fallback")),
        ({"model": "set", "output": ("set/engines.json",)}, ("--output", "MODEL")),
        ({"model": "set", "trace": "set/timeline"}, ("--trace", "MODEL")),
        ({"output": ("x.json",), "trace": "x.json"}, ("--trace", "--output")),
        ({"output": ("x.json",), "draw": "x.json"}, ("--draw", "--output")),
        ({"output": ("x.json",), "run_dir": "x.json"}, ("--run-dir", "--output")),
        ({"output": ("x.json", "x.metrics.json")}, ("--output", "metrics file")),
        ({"output": ("x.json", "x.failures.jsonl")}, ("--output", "failed images")),
        ({"output": ("x.json", "x.json")}, ("--output", "twice")),
        ({"output": ("x.run/x.json",), "run_dir": "x.run"}, ("--output", "run folder")),
        ({"run_dir": "x.run", "draw": "x.run/drawn"}, ("--draw", "run folder")),
    ],
)  # fmt: skip
def test_files_in_each_others_way_are_refused_untouched(folder, options, names):
    before = snapshot(folder)
    with pytest.raises(UsageError) as caught:
        check_files(config(**options))
    for name in names:
        assert name in str(caught.value)
    assert snapshot(folder) == before


def test_an_output_is_a_plain_new_file_or_an_earlier_output(folder):
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / "link.json").symlink_to("nowhere.json")
    (folder / "old.json").write_text('{"annotations": []}', encoding="utf-8")
    (folder / "photo.json").write_bytes(b"\x89PNG\r\n\x1a\n rest")
    (folder / "file").write_text("", encoding="utf-8")
    for name, why in (
        ("folder.json", "it is a folder"),
        ("pipe.json", "pipe, device or socket"),
        ("link.json", "a link to nowhere.json"),
        ("photo.json", "it is an image"),
        ("new/", "ends in /"),
        ("nowhere/out.json", "no folder nowhere"),
        ("out.txt", "must end in"),
    ):
        with pytest.raises(UsageError, match=why):
            check_files(config(output=(name,)))
    with pytest.raises(UsageError, match="it is an image"):
        check_files(config(trace="photos/a.jpg"))
    with pytest.raises(UsageError, match="it is no folder"):
        check_files(config(draw="file"))
    check_files(config(output=("old.json",), draw="photos/drawn", trace="timeline"))


def test_side_files_have_the_stem_of_the_first_output():
    assert metrics_path("b.json") == "b.metrics.json"
    assert failures_path("b.json") == "b.failures.jsonl"
    assert metrics_path("runs/b.results.json") == "runs/b.metrics.json"
    assert failures_path("s3://bucket/x/b.parquet") == "s3://bucket/x/b.failures.jsonl"
    assert metrics_path("runs/.json") == "runs/detections.metrics.json"


def test_somebody_elses_file_in_the_place_of_a_side_file_is_kept(folder):
    for name in ("out.metrics.json", "out.failures.jsonl"):
        for content in ("my notes", '{"lr": 0.1}', "[" * 100_000, ""):
            (folder / name).write_text(content, encoding="utf-8")
            with pytest.raises(UsageError, match="not from an earlier run"):
                check_files(config(output=("out.json",)))
            assert (folder / name).read_text(encoding="utf-8") == content
        (folder / name).unlink()


def test_side_files_of_an_earlier_run_may_be_replaced(folder):
    metrics = {"stats": {}, "images_failed": 0, "images_missing": 0, "images_left_out": 0}
    (folder / "out.metrics.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")
    failure = {"image_id": 0, "file_name": "a.jpg", "path": "/a.jpg", "error": "truncated"}
    (folder / "out.failures.jsonl").write_text(f"{json.dumps(failure)}\n" * 3, encoding="utf-8")
    check_files(config(output=("out.json",)))
