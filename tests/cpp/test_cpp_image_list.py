"""The images that a command line names, against `--images` of Python."""

import os

import pytest
from picture_files import saved, scene

from odtk_ray.datasets.image_sources import find_images
from odtk_ray.errors import UsageError


def listed(units, *arguments):
    """Names, paths and notes."""
    out = os.fsdecode(units("list", *arguments))
    images, notes = out.split("\0\0", 1) if not out.startswith("\0") else ("", out[1:])
    texts = images.split("\0")
    return texts[::2], [os.path.abspath(path) for path in texts[1::2]], notes.split("\0")[:-1]


def compare(units, path):
    """Compare with Python's."""
    names, paths, notes = listed(units, path)
    expected = find_images(os.fspath(path))
    assert names == expected.records["file_name"].to_pylist()
    assert paths == [os.path.abspath(path) for path in expected.records["path"].to_pylist()]
    assert notes == [note.replace(" (--recursive does)", "") for note in expected.notes]
    return names


def refuse(units, path):
    """Compare an error with Python's."""
    found = units.error("list", path)
    with pytest.raises(UsageError) as error:
        find_images(os.fspath(path))
    said = found.partition("\n  hint: ")
    cause = error.value.sentence.replace(" (--recursive does)", "")
    assert said[0].rstrip(": ") == cause
    return said[2].strip()


@pytest.fixture
def folder(tmp_path):
    """A folder of images and other things."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = saved(scene((3, 2)))
    names = "b.jpg a.png A.JPG z10.jpeg z9.jpeg ä.jpg Z.tiff \U0001f333.jpg \uffee.jpg x.bmp .jpg"
    for name in [*names.split(), "really.heic", "not a name.JPEG"]:
        (folder / name).write_bytes(picture)
    for name in ("one.txt", "two.txt", "README", ".hidden", "a.json", "b.xml", "c.xml", "d.xml"):
        (folder / name).write_text("text", encoding="utf-8")
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "sub.jpg").mkdir()
    return folder


def test_files_of_a_folder(units, folder):
    assert len(compare(units, folder)) == 12
    assert len(compare(units, f"{folder}/")) == 12


def test_names_that_are_no_text(units, folder):
    with open(os.fsencode(folder) + b"/\xff.jpg", "wb") as odd:
        odd.write(b"x")
    assert len(compare(units, folder)) == 12


def test_links_stay_in_the_folder(units, folder, tmp_path):
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"x")
    (folder / "in.jpg").symlink_to("b.jpg")
    (folder / "in2.jpg").symlink_to(folder / "in.jpg")
    (folder / "out.jpg").symlink_to(outside)
    (folder / "out2.jpg").symlink_to("../outside.jpg")
    (folder / "nothing.jpg").symlink_to("none")
    (folder / "nothing outside.jpg").symlink_to("../none")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe.jpg")
    assert len(compare(units, folder)) == 14
    (tmp_path / "link").symlink_to(folder)
    compare(units, tmp_path / "link")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    names, _, notes = listed(units, folder)
    assert len(names) == 14
    assert "left out 3 entries that are no files" in " ".join(notes)


def test_one_file(units, folder):
    assert compare(units, folder / "ä.jpg") == ["ä.jpg"]
    assert compare(units, folder / "really.heic") == ["really.heic"]
    assert refuse(units, folder / "README") == "give a folder, file or list"
    assert refuse(units, folder / "phone.HEIC")


def test_several_arguments_in_their_order(units, folder, tmp_path):
    (tmp_path / "list.txt").write_text("pictures/ä.jpg\n# comment\n", encoding="utf-8")
    names, paths, notes = listed(units, folder / "b.jpg", tmp_path / "list.txt", folder)
    assert names[:4] == ["b.jpg", "pictures/ä.jpg", "A.JPG", "Z.tiff"]
    assert len(names) == len(paths) == 14
    assert "left out 1 line that begins with # (a name that begins so is written ./#NAME)" in notes


LISTS = {
    "plain": b"a.jpg\nb.jpg\n",
    "no end": b"a.jpg",
    "windows": b"\xef\xbb\xbfa.jpg\r\nb.jpg\r\n",
    "old mac": b"a.jpg\rb.jpg\r\r",
    "spaces": b"  a.jpg \t\n\n \n\xc2\xa0b.jpg\xe3\x80\x80\n\x1cc.jpg\x85\n".replace(
        b"\x85", b"\xc2\x85"
    ),
    "comments": b"#x\na.jpg\n #y\nc d.jpg # not one\n",
    "absolute": b"/nowhere/x.jpg\na.jpg\n../pictures/a.jpg\n",
    "bom inside": b"a.jpg\n\xef\xbb\xbfb.jpg\n",
}


@pytest.mark.parametrize("content", LISTS.values(), ids=list(LISTS))
def test_lists(units, tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(b"x")
    for name in ("list.txt", "list.LST"):
        (tmp_path / name).write_bytes(content)
        compare(units, tmp_path / name)


def test_longest_lines(units, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = tmp_path / "list.txt"
    for letter in "aä\U0001f333":
        path.write_text(f"a.jpg\n{letter * 65534}\n", encoding="utf-8")
        compare(units, path)
        path.write_text(f"a.jpg\n{letter * 65535}\n", encoding="utf-8")
        assert "line 2 has more than 65,536 characters" in units.error("list", path)
        refuse(units, path)


BAD_LISTS = {
    "empty": b"",
    "blank": b"\n \n",
    "comments only": b"#a\n#b\n",
    "nothing there": b"x.jpg\ny.jpg\n",
    "utf-16": "a.jpg\n".encode("utf-16"),
    "utf-16 big": b"\xfe\xff" + "a.jpg\n".encode("utf-16-be"),
    "latin-1": b"a.jpg\n\xe4.jpg\n",
    "cut": b"a.jpg\nb\xc3",
    "bytes": bytes(range(256)) * 600,
}


@pytest.mark.parametrize("content", BAD_LISTS.values(), ids=list(BAD_LISTS))
def test_lists_that_are_refused(units, tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(b"x")
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    refuse(units, path)


def test_what_is_not_there_is_refused(units, tmp_path):
    refuse(units, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    refuse(units, tmp_path / "empty")
    (tmp_path / "empty" / "text.txt").write_text("x", encoding="utf-8")
    refuse(units, tmp_path / "empty")
    (tmp_path / "nothing").symlink_to("none")
    refuse(units, tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    refuse(units, tmp_path / "pipe")
