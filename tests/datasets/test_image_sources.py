from __future__ import annotations

import json
import os

import pytest
from huge_headers import small_picture

from odtk_ray import storage
from odtk_ray.datasets.image_sources import find_images
from odtk_ray.errors import UsageError

PICTURE = small_picture()


@pytest.fixture
def tree(tmp_path):
    """Two pictures, two other files, and two pictures in sub-folders."""
    for name in ("b.jpg", "a.PNG", "notes.txt", "clip.mp4", "deep/c.tif", "deep/er/d.webp"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
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
        "files skipped because their names are not those of images: 2 (.mp4, .txt)",
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
    listing.write_text(
        f"b.jpg\n\n# a comment\n{tmp_path}/other.png\ns3://bucket/key.jpg\n", encoding="utf-8"
    )
    found = find_images(str(listing))
    assert found.records["path"].to_pylist() == [
        str(tree / "b.jpg"),
        f"{tmp_path}/other.png",
        "s3://bucket/key.jpg",
    ]
    assert names(found)[0] == "b.jpg"
    assert found.notes == [
        "left out 1 line that begins with # (a name that begins so is written ./#NAME)"
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbfb.jpg\r\na.PNG\r\n", ["b.jpg", "a.PNG"]),
        (b"./#hash.png\n#hash.png\nb.jpg", ["./#hash.png", "b.jpg"]),
        (b"nosuch://x/y.jpg\n..\n../tree/b.jpg\na\0b", ["nosuch://x/y.jpg", "..",
                                                     "../tree/b.jpg", "a\0b"]),
        ("b.jpg\n\N{NO-BREAK SPACE}ü\x1b[2J.jpg\n".encode(), ["b.jpg", "ü\x1b[2J.jpg"]),
    ],
)  # fmt: skip
def test_lines_of_lists(tree, content, expected):
    (tree / "list.lst").write_bytes(content)
    assert names(find_images(str(tree / "list.lst"))) == expected


@pytest.mark.parametrize(
    ("content", "what", "why"),
    [
        (b"", "no images in", "it is empty"),
        (b"# nothing\n", "no images in", "left out 1 line that begins with #"),
        (b"Dear all,\nno list.", "is no list", "none of its 2 lines names a file that is there"),
        ("a.PNG\n".encode("utf-16"), "cannot read the list", "it is UTF-16, not UTF-8"),
        ("\ufeffa.PNG\n".encode("utf-16-be"), "cannot read the list", "it is UTF-16"),
        ("a.PNG\n".encode("utf-16-le"), "is no list", "none of its 2 lines"),
        (b"b.jpg\nM\xfcnchen.jpg\n", "cannot read the list", "line 2 is not UTF-8"),
        (bytes(1 << 20), "is no list", "line 1 has more than 65,536 characters"),
    ],
)
def test_what_is_no_list_is_said(tree, content, what, why):
    (tree / "list.txt").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        find_images(str(tree / "list.txt"))
    assert what in caught.value.what
    assert why in caught.value.why


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


def test_a_pattern_follows_the_links_that_its_folder_would(tree, tmp_path):
    (tmp_path / "secret.jpg").write_bytes(PICTURE)
    (tree / "inside.jpg").symlink_to(tree / "deep" / "c.tif")
    (tree / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    (tree / "folder").symlink_to(tmp_path)
    found = find_images(f"{tree}/*.jpg")
    assert names(found) == ["b.jpg", "inside.jpg"]
    assert found.notes == ["left out 1 link that leads out of the folder"]
    with pytest.raises(UsageError, match="left out 1 link that leads out of the folder"):
        find_images(f"{tree}/*/*.jpg")
    (tmp_path / "linked").symlink_to(tree)  # the folder that was named may be a link itself
    assert names(find_images(f"{tmp_path}/linked/*.jpg")) == ["b.jpg", "inside.jpg"]


def test_what_is_no_file_in_a_folder_is_said(tree):
    os.mkfifo(tree / "pipe.jpg")
    (tree / "broken.jpg").symlink_to(tree / "gone.jpg")
    (tree / "folder.jpg").symlink_to(tree / "deep")
    found = find_images(str(tree))
    assert names(found) == ["a.PNG", "b.jpg"]
    assert found.notes[1] == (
        "left out 3 entries that are no files (links to folders or to nothing, pipes, devices)"
    )
    with pytest.raises(UsageError, match="it is a pipe, a device or a link to nothing"):
        find_images(str(tree / "pipe.jpg"))


def test_pictures_of_telephones(tree):
    (tree / "IMG_1.HEIC").write_bytes(small_picture("JPEG"))  # as some programs name JPEGs
    (tree / "IMG_2.heif").write_bytes(b"\0\0\0\x18ftypheic" + bytes(500))
    found = find_images(str(tree))
    assert names(found) == ["IMG_1.HEIC", "a.PNG", "b.jpg"]
    assert found.notes[0] == (
        "skipped 1 HEIC picture: HEIC is not supported (convert to JPEG or PNG)"
    )


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("model.pth", b"PK\3\4" + bytes(400), "not an image, or its header is damaged"),
        ("empty.jpg", b"", "the file is empty (0 bytes)"),
        ("a.json", b"{}", "not an image"),
    ],
)
def test_a_named_file_that_is_no_image_is_refused(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match="no images in") as caught:
        find_images(str(tmp_path / name))
    assert why in caught.value.why
    assert ("--annotations" in caught.value.hint) == name.endswith(".json")


def test_file_uris_name_what_they_say(tmp_path):
    for name in ("run#2/right.png", "run/shot#1.png", "sp ace/s.png", "a%20b/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PICTURE)
    for uri, expected in (
        (f"file://{tmp_path}/run%232", "run#2/right.png"),
        (f"file://localhost{tmp_path}/run", "run/shot#1.png"),
        (f"FILE://{tmp_path}/run/shot%231.png", "run/shot#1.png"),
        (f"file://{tmp_path}/sp%20ace", "sp ace/s.png"),
        (f"file://{tmp_path}/a%2520b/*.png", "a%20b/c.png"),
    ):
        assert find_images(uri).records["path"].to_pylist() == [str(tmp_path / expected)]


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("file://{}/run#2", "# ends the path of a URI: write %23 for it"),
        ("file://data/run", "local files have three slashes: file:///folder/name"),
        ("file://data", "local files have three slashes"),
    ],
)
def test_ambiguous_file_uris_are_one_sentence(tmp_path, uri, why):
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="cannot read images from") as caught:
        find_images(uri.format(tmp_path))
    assert why in caught.value.why
    with pytest.raises(UsageError, match="cannot use file://"):
        storage.absolute(uri.format(tmp_path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "it is empty"),
        ("gone", "no such file or folder"),
        ("only_text", r"files skipped because their names are not those of images: 1 \(\.txt\)"),
        ("*.jpg", "nothing matches it"),
    ],
)
def test_nothing_to_do_is_said(tmp_path, source, message):
    (tmp_path / "only_text").mkdir()
    (tmp_path / "only_text" / "a.txt").write_text("x", encoding="utf-8")
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
