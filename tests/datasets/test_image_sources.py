from __future__ import annotations

import json

import pytest

from odtk_ray.datasets.image_sources import find_images
from odtk_ray.errors import UsageError


@pytest.fixture
def tree(tmp_path):
    """Two pictures, two other files, and two pictures in sub-folders."""
    for name in ("b.jpg", "a.PNG", "notes.txt", "clip.mp4", "deep/c.tif", "deep/er/d.webp"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "tree"


def names(dataset):
    return dataset.records["file_name"].to_pylist()


def test_folder_is_sorted_and_other_files_are_counted(tree):
    found = find_images(str(tree))
    assert names(found) == ["a.PNG", "b.jpg"]
    assert found.records["path"].to_pylist() == [str(tree / "a.PNG"), str(tree / "b.jpg")]
    assert found.records["image_id"].to_pylist() == ["0", "1"]
    assert [json.loads(e) for e in found.records["entry"].to_pylist()] == [
        {"id": 0, "file_name": "a.PNG"},
        {"id": 1, "file_name": "b.jpg"},
    ]
    assert found.notes == [
        "files skipped because they are no images: 2",
        "did not enter 1 sub-folder (--recursive does)",
    ]
    assert found.categories is None
    assert not found.has_truth


@pytest.mark.parametrize(
    ("pattern", "recursive", "expected"),
    [
        (".", True, ["a.PNG", "b.jpg", "deep/c.tif", "deep/er/d.webp"]),
        ("b.jpg", False, ["b.jpg"]),
        ("*.jpg", False, ["b.jpg"]),
        ("**/*.*", False, ["a.PNG", "b.jpg", "deep/c.tif", "deep/er/d.webp"]),
        ("deep/[c-d].*", False, ["c.tif"]),
        ("?.PNG", False, ["a.PNG"]),
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_folders_files_and_globs(tree, pattern, recursive, expected, scheme):
    source = f"{scheme}{tree}" if pattern == "." else f"{scheme}{tree}/{pattern}"
    assert names(find_images(source, recursive=recursive)) == expected


def test_a_path_with_brackets_is_a_path(tmp_path):
    (tmp_path / "set[1]").mkdir()
    (tmp_path / "set[1]" / "a.jpg").write_bytes(b"x")
    assert names(find_images(str(tmp_path / "set[1]"))) == ["a.jpg"]


def test_list_file(tree, tmp_path):
    listing = tree / "list.txt"
    listing.write_text(f"b.jpg\n\n# a comment\n{tmp_path}/other.png\ns3://bucket/key.jpg\n")
    found = find_images(str(listing))
    assert found.records["path"].to_pylist() == [
        str(tree / "b.jpg"),
        f"{tmp_path}/other.png",
        "s3://bucket/key.jpg",
    ]
    assert names(found)[0] == "b.jpg"


def test_remote_folder_through_fsspec(tree):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("/bucket/set/a.jpg", "/bucket/set/b.txt", "/bucket/set/deep/c.png"):
        memory.pipe_file(name, b"x")
    assert names(find_images("memory://bucket/set")) == ["a.jpg"]
    assert names(find_images("memory://bucket/set", recursive=True)) == ["a.jpg", "deep/c.png"]
    found = find_images("memory://bucket/set/**/*.png")
    assert found.records["path"].to_pylist() == ["memory://bucket/set/deep/c.png"]


def test_limit(tree):
    assert names(find_images(str(tree), recursive=True, limit=3)) == [
        "a.PNG",
        "b.jpg",
        "deep/c.tif",
    ]


def test_links_inside_are_followed_and_links_outside_are_not(tree, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tree / "inside.jpg").symlink_to(tree / "deep" / "c.tif")
    (tree / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    (tree / "folder").symlink_to(tmp_path)
    found = find_images(str(tree), recursive=True)
    assert names(found) == ["a.PNG", "b.jpg", "deep/c.tif", "deep/er/d.webp", "inside.jpg"]
    assert "left out 2 links that lead out of the folder" in found.notes


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "it is empty"),
        ("gone", "no such file or folder"),
        ("only_text", "files skipped because they are no images: 1"),
        ("*.jpg", "it is empty"),
    ],
)
def test_nothing_to_do_is_said(tmp_path, source, message):
    (tmp_path / "only_text").mkdir()
    (tmp_path / "only_text" / "a.txt").write_text("x")
    (tmp_path / "void").mkdir()
    path = tmp_path / source if source else tmp_path / "void"
    with pytest.raises(UsageError, match=message):
        find_images(str(path))


def test_unknown_scheme_is_said():
    with pytest.raises(UsageError, match="cannot read images from nosuch://bucket"):
        find_images("nosuch://bucket/x")


def test_names_that_are_no_text_are_skipped(tree):
    with open(bytes(tree) + b"/\xff.jpg", "wb"):
        pass
    found = find_images(str(tree))
    assert names(found) == ["a.PNG", "b.jpg"]
    assert "images skipped because their names are no UTF-8: 1" in found.notes


def test_uris_reach_their_filesystem_as_it_wants_them():
    from odtk_ray.storage import files

    assert files._inner("http", "http://host/a/b.jpg?x=1") == "http://host/a/b.jpg?x=1"
    assert files._inner("s3", "s3://bucket/key.jpg") == "bucket/key.jpg"
    assert files._inner("file", "file:///data/a.jpg") == "/data/a.jpg"
