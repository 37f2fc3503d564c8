"""The one writer: a file is there whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from odtk_ray import storage
from odtk_ray.storage import atomic, object_stores

OLD = b"old and whole"

# Ways to write a file, each with what it is to hold.
WRITERS = {
    "write_atomic": lambda path: storage.write_atomic(path, b"new"),
    "write_together": lambda path: storage.write_together({path: b"new"}),
    "writing": lambda path: write(path, b"new"),
}


def write(path, data, error=None):
    with storage.writing(path) as part:
        Path(part).write_bytes(data)
        if error is not None:
            raise error


@pytest.fixture
def spool(tmp_path_factory, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path_factory.mktemp("spool")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("old", [None, OLD])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_is_new_or_replaced_and_nothing_lies_beside_it(tmp_path, writer, old):
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)
    WRITERS[writer](str(path))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_empty_file(tmp_path):
    storage.write_atomic(str(tmp_path / "a"), b"")
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_a_newly_made_file(tmp_path, writer, mask):
    path = tmp_path / "a"
    path.write_bytes(OLD)
    path.chmod(0o600)
    before = os.umask(mask)
    try:
        WRITERS[writer](str(path))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("writer", WRITERS)
def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path, writer):
    (tmp_path / "there").write_bytes(OLD)
    (tmp_path / "link").symlink_to("there")
    WRITERS[writer](str(tmp_path / "link"))
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_bytes() == b"new"
    assert (tmp_path / "there").read_bytes() == OLD


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a"
    path.write_bytes(OLD)
    with pytest.raises(error):
        write(str(path), b"half of the n", error)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_target_that_cannot_be_replaced(tmp_path, writer):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        WRITERS[writer](str(tmp_path / "folder"))
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(FileNotFoundError):
        WRITERS[writer](str(tmp_path / "gone" / "a"))
    assert os.listdir(tmp_path) == ["folder"]


def test_a_block_that_writes_nothing_makes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), storage.writing(str(tmp_path / "a")):
        pass
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """/dev/full is a disk without room: the part is a link to it."""
    path = tmp_path / "a"
    path.write_bytes(OLD)
    Path(f"{path}.tag.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        storage.write_atomic(str(path), b"new", "tag")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["a"]


# ---- killed in the middle ----------------------------------------------------------------------

SLOW = """
import pathlib, sys, time
from odtk_ray import storage
with storage.writing(sys.argv[1]) as part:
    pathlib.Path(part).write_bytes(b"half of the n")
    print("half", flush=True)
    time.sleep(600)
"""


def stopped(path, number):
    """A process that is stopped by a signal in the middle of writing; returns its exit code."""
    command = [sys.executable, "-c", SLOW, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"half\n"
        process.send_signal(number)
        return process.wait()


def test_a_writer_that_is_killed_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(OLD)
    assert stopped(path, signal.SIGKILL) == -signal.SIGKILL
    assert path.read_bytes() == OLD
    (left,) = set(os.listdir(tmp_path)) - {"a"}  # nobody could remove it, and its name says so
    assert left.startswith("a.")
    assert left.endswith(".tmp")


def test_ctrl_c_leaves_nothing(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(OLD)
    assert stopped(path, signal.SIGINT) != 0
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["a"]


def test_no_other_process_has_our_temporary_names_whatever_its_number():
    """Not even one of the same number: in a container every start has it again."""
    code = (
        "import os; os.getpid = lambda: 7\n"
        "from odtk_ray.storage.atomic import own_tag; print(own_tag(), own_tag())"
    )
    command = [sys.executable, "-c", code]
    both = [subprocess.check_output(command, text=True).split() for _ in range(2)]
    assert all(first == second and first.startswith("7-") for first, second in both)
    assert both[0] != both[1]


def test_what_a_killed_writer_left_can_be_removed_by_its_tag(tmp_path):
    for name in ("a", "a.one.tmp", "a.two.tmp"):
        (tmp_path / name).touch()
    storage.discard_part(str(tmp_path / "a"), "one")
    storage.discard_part(str(tmp_path / "a"), "three")
    assert sorted(os.listdir(tmp_path)) == ["a", "a.two.tmp"]


# ---- on the disk itself ------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """What is synced and renamed, in order, by the names of files; a folder ends in a slash."""
    seen = []
    real_fsync, real_replace, real_rename = os.fsync, os.replace, os.rename

    def fsync(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        seen.append(f"sync {path.name}" + "/" * path.is_dir())
        real_fsync(descriptor)

    def renaming(real):
        def rename(old, new):
            seen.append(f"rename {Path(old).name} {Path(new).name}")
            real(old, new)

        return rename

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renaming(real_replace))
    monkeypatch.setattr(os, "rename", renaming(real_rename))
    return seen


@pytest.mark.parametrize("writer", WRITERS)
def test_content_then_name_then_folder(tmp_path, calls, writer):
    WRITERS[writer](str(tmp_path / "a"))
    part = f"a.{atomic.own_tag()}.tmp"
    assert calls == [f"sync {part}", f"rename {part} a", f"sync {tmp_path.name}/"]


def test_of_several_files_all_are_on_the_disk_before_the_first_is_replaced(tmp_path, calls):
    names = {str(tmp_path / "b"): b"1", str(tmp_path / "a"): b"2"}
    storage.write_together(names, "t")
    assert [call for call in calls if not call.endswith("/")] == [
        "sync b.t.tmp",
        "sync a.t.tmp",
        "rename b.t.tmp b",
        "rename a.t.tmp a",
    ]
    assert ((tmp_path / "b").read_bytes(), (tmp_path / "a").read_bytes()) == (b"1", b"2")


def test_of_several_files_none_is_replaced_where_one_cannot_be_written(tmp_path):
    (tmp_path / "a").write_bytes(OLD)
    with pytest.raises(FileNotFoundError):
        storage.write_together({str(tmp_path / "a"): b"1", str(tmp_path / "gone/b"): b"2"})
    assert (tmp_path / "a").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_system_that_cannot_sync_folders_is_written_to(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_dir():
            raise OSError(errno.EINVAL, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    storage.write_atomic(str(tmp_path / "a"), b"new")
    assert os.listdir(tmp_path) == ["a"]


# ---- other kinds -------------------------------------------------------------------------------


def test_one_of_several_creates_a_file(tmp_path, calls):
    path = str(tmp_path / "a")
    assert [storage.create(path, data) for data in (b"1", b"2")] == [True, False]
    assert (tmp_path / "a").read_bytes() == b"1"
    assert calls == ["sync a", f"sync {tmp_path.name}/"]


def test_what_is_appended_is_on_the_disk(tmp_path, calls):
    for data in (b"1\n", b"2\n"):
        storage.append(str(tmp_path / "a"), data)
    assert (tmp_path / "a").read_bytes() == b"1\n2\n"
    assert calls == ["sync a", f"sync {tmp_path.name}/", "sync a"]  # a new name too


def test_what_is_not_there_is_removed_without_an_error(tmp_path):
    (tmp_path / "a").touch()
    storage.remove(str(tmp_path / "a"))
    storage.remove(str(tmp_path / "a"))
    assert os.listdir(tmp_path) == []


def fill(path, name, error=None):
    with storage.making_folder(str(path)) as part:
        (Path(part) / name).touch()
        assert error or not (path / name).exists()
        if error is not None:
            raise error


def test_a_folder_appears_filled_or_not_at_all(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fill(path, "half", KeyboardInterrupt)
    assert os.listdir(tmp_path) == []
    fill(path, "all")
    assert os.listdir(path) == ["all"]
    with pytest.raises(OSError, match="not empty"):
        fill(path, "other")
    assert os.listdir(path) == ["all"]
    assert os.listdir(tmp_path) == ["run"]
    storage.remove_folder(str(path))
    assert os.listdir(tmp_path) == []


# ---- object stores -----------------------------------------------------------------------------


@pytest.fixture
def requests(s3):
    """The requests that writers make, in order, as method and key."""
    import fsspec

    seen = []
    client = fsspec.filesystem("s3", use_listings_cache=False)
    real = client._call_s3

    async def call(method, *args, **kwargs):
        seen.append(f"{method} {kwargs.get('Key')}")
        return await real(method, *args, **kwargs)

    client._call_s3 = call
    yield seen
    del client._call_s3


@pytest.mark.parametrize("writer", WRITERS)
def test_an_object_is_written_by_one_request(s3, requests, spool, writer):
    uri = f"{s3.url}/folder/a.bin"
    WRITERS[writer](uri)
    assert requests == ["put_object folder/a.bin"]
    assert storage.read_bytes(uri) == b"new"
    assert os.listdir(spool) == []


def test_objects_are_written_in_order(s3, requests):
    storage.write_together({f"{s3.url}/b": b"1", f"{s3.url}/a": b"2"})
    assert requests == ["put_object b", "put_object a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_makes_no_object(s3, requests, spool, error):
    uri = f"{s3.url}/a"
    object_stores.put(uri, OLD)
    requests.clear()
    with pytest.raises(error):
        write(uri, b"half of the n", error)
    assert requests == []
    assert storage.read_bytes(uri) == OLD
    assert os.listdir(spool) == []


def test_a_draft_is_published_again_when_the_store_is_back(s3, spool):
    draft = atomic.FileDraft(f"{s3.url}/a")
    Path(draft.part).write_bytes(b"new")
    s3.server.stop()
    try:
        with pytest.raises(OSError, match="connect"):
            draft.publish()
    finally:
        s3.server.start()
    draft.publish()
    assert storage.read_bytes(f"{s3.url}/a") == b"new"
    assert os.listdir(spool) == []
