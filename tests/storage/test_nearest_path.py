"""Paths that were probably meant."""

import pytest

from odtk_ray.storage.nearest_path import nearest_path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "photos" / "day").mkdir(parents=True)
    (tmp_path / "photos" / "day" / "a.JPG").write_bytes(b"")
    (tmp_path / "model.pth").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("modle.pth", "model.pth"),
        ("./modle.pth", "model.pth"),
        ("photo", "photos"),
        ("photo/", "photos"),
        ("photos/day/a.jpg", "photos/day/a.JPG"),
        ("photo/day", "photos/day"),  # a folder on the way is misspelt
        ("photo/day/a.JPG", "photos/day/a.JPG"),
        ("photo/night", None),  # two names are
        ("quite/another/place", None),
        ("model.pth/a", None),
        ("s3://bucket/modle.pth", None),
    ],
)
def test_relative_paths(folder, path, expected):
    assert nearest_path(path) == expected


def test_absolute_paths_stay_absolute(folder):
    assert nearest_path(str(folder / "modle.pth")) == str(folder / "model.pth")
