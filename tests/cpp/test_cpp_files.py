"""Files exist whole or not at all."""

import os
import stat

import pytest


def test_files_are_written_and_replaced(units, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    two.write_text("before", encoding="utf-8")
    units("write", one, "first", two, "second")
    assert (one.read_text(encoding="utf-8"), two.read_text(encoding="utf-8")) == ("first", "second")
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(one.stat().st_mode) == 0o666 & ~umask


def test_a_link_is_replaced_and_a_name_needs_no_folder(units, tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("kept", encoding="utf-8")
    link.symlink_to(target)
    units("write", "link", "new", cwd=tmp_path)
    assert (target.read_text(encoding="utf-8"), link.read_text(encoding="utf-8")) == ("kept", "new")
    assert not link.is_symlink()


def test_what_fails_leaves_no_file_and_replaces_none(units, tmp_path):
    old, folder = tmp_path / "old", tmp_path / "folder"
    old.write_text("old", encoding="utf-8")
    folder.mkdir()
    missing = tmp_path / "missing" / "file"
    text = units.error("write", old, "new", missing, "text")
    assert text.startswith(f"cannot write {missing}: No such file or directory")
    assert old.read_text(encoding="utf-8") == "old"
    text = units.error("write", folder, "text", old, "new")
    assert text.startswith(f"cannot write {folder}: it is a folder")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = units.error("write", pipe, "text")
    assert text.startswith(f"cannot write {pipe}: it is a pipe or a device")
    assert pipe.is_fifo()
    assert old.read_text(encoding="utf-8") == "old"
    assert sorted(os.listdir(tmp_path)) == ["folder", "old", "pipe"]


def test_a_full_disk_leaves_no_file(units, tmp_path):
    limited = ["env", "--ignore-signal=XFSZ", "prlimit", "--fsize=4096", *units.command]
    text = type(units)(units.machine, limited).error("write", tmp_path / "big", "x" * 8192)
    assert text.startswith(f"cannot write {tmp_path / 'big'}: File too large")
    assert os.listdir(tmp_path) == []


def test_an_interrupted_program_leaves_no_file(units, tmp_path):
    assert units.error("unwind", tmp_path / "file").startswith("stopped")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_files_are_read_whole(units, tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert units("read", tmp_path / "file") == content


def test_pipes_are_read_too(units):
    assert units("read", "/dev/stdin", input=b"text") == b"text"


@pytest.mark.parametrize(
    ("name", "why"), [("none", "No such file or directory"), (".", "Is a directory")]
)
def test_what_cannot_be_read_is_said(units, tmp_path, name, why):
    assert units.error("read", tmp_path / name).startswith(f"cannot read {tmp_path / name}: {why}")
