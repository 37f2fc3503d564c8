"""Every drawn picture has its own file, whatever the originals are called."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.pictures.drawn_names import drawn_names

PARTS = st.sampled_from(
    ["a.jpg", "a.JPG", "b", "b.png", "..", ".", "", "a-2.jpg", "n" * 254, "ä" * 130]
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def test_names_stay_where_they_can():
    names = ["a.jpg", "b/c.PNG", "d.tif", "s3://bucket/e.jpeg", "/data/f.jpg", "../g.jpg"]
    assert drawn_names(names) == [
        "a.jpg",
        "b/c.PNG",
        "d.tif.png",
        "bucket/e.jpeg",
        "data/f.jpg",
        "g.jpg",
    ]


def test_equal_names_get_numbers():
    assert drawn_names(["a.jpg", "../a.jpg", "./a.jpg", "a-2.jpg"]) == [
        "a.jpg",
        "a-2.jpg",
        "a-3.jpg",
        "a-2-2.jpg",
    ]


def test_a_file_is_no_folder():
    assert drawn_names(["x.jpg", "x.jpg/y.jpg"]) == ["x.jpg", "x.jpg_y.jpg"]
    assert drawn_names(["x.jpg/y.jpg", "x.jpg"]) == ["x.jpg/y.jpg", "x-2.jpg"]


@given(st.lists(NAMES, max_size=12))
def test_all_names_can_be_written_side_by_side(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("drawn")
    drawn = drawn_names(names)
    assert len(set(drawn)) == len(names)
    for name in drawn:
        path = folder / name
        assert os.path.realpath(path).startswith(f"{folder}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert len(f"{path.name}.{10**20}.tmp".encode()) <= 255  # the name while it is written
    assert sum(len(files) for _, _, files in os.walk(folder)) == len(names)
