"""`convert` replaces nothing that it reads, and makes no folder by mistake."""

from __future__ import annotations

import json

import pytest

from odtk_ray.datasets.convert import Conversion
from odtk_ray.datasets.convert import convert as converted
from odtk_ray.errors import UsageError

DOCUMENT = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
    "categories": [{"id": 1, "name": "ship"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 12, 20, 8, 0.25]}],
}


def convert(source, target):
    return converted(Conversion(source, target))


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    return path


def test_the_source_is_never_the_target(source, tmp_path):
    (tmp_path / "link.json").symlink_to(source)
    before = source.read_bytes()
    for target in ("a.json", str(source), "./a.json", "link.json"):
        with pytest.raises(UsageError, match="would replace what SOURCE"):
            convert("a.json", target)
    assert source.read_bytes() == before


def test_a_folder_of_labels_is_not_written_into_itself(source):
    assert "wrote" in convert("a.json", "labels")[0]
    with pytest.raises(UsageError, match="lies in SOURCE labels"):
        convert("labels", "labels/a.json")


@pytest.mark.parametrize("target", ["y.csv", "labels.txt", "out.jsonl", "new/y.txt"])
def test_a_name_with_an_ending_is_no_folder(source, tmp_path, target):
    with pytest.raises(UsageError, match="is not a format"):
        convert("a.json", target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json"]


@pytest.mark.parametrize("target", ["labels", "labels.v2/"])
def test_folders_have_no_ending_or_a_slash(source, tmp_path, target):
    convert("a.json", target)
    assert [path.name for path in (tmp_path / target).iterdir()] == ["a.txt"]


def test_a_folder_that_is_there_may_have_an_ending(source, tmp_path):
    (tmp_path / "labels.v1").mkdir()
    convert("a.json", "labels.v1")
    assert (tmp_path / "labels.v1" / "a.txt").exists()
