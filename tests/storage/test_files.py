"""Reading files: whatever is in the way is an OSError, and nothing is waited for in vain."""

from __future__ import annotations

import errno
import os
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from odtk_ray import storage
from odtk_ray.storage import retry
from odtk_ray.storage.retry import read_image, touch


class OddStore(MemoryFileSystem):
    """Raises what is no OSError, as stores' libraries do."""

    protocol = "odd"
    store: ClassVar[dict] = {}

    def isfile(self, path):
        return True

    def _open(self, path, *arguments, **more):
        kinds = {"runtime": RuntimeError, "value": ValueError, "key": KeyError}
        raise kinds[path.rpartition("/")[2]]("the server has a bad day")


@pytest.fixture
def waits(monkeypatch):
    """The pauses that were made, which take no time."""
    pauses = []
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    return pauses


@pytest.mark.parametrize("read", [storage.read_bytes, touch])
@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("nosuch://bucket/key.jpg", errno.ENOTSUP),
        ("github://org:repo@/x.png", errno.ENOTSUP),
        ("odd://runtime", errno.EIO),
        ("odd://value", errno.ENOTSUP),
        ("odd://key", errno.EIO),
        ("/a\0b.png", errno.ENOTSUP),
        ("file:///a#b.png", errno.EINVAL),
        ("/dev/zero", errno.ENXIO),
    ],
)
def test_every_failure_is_an_os_error(read, path, number):
    fsspec.register_implementation("odd", OddStore, clobber=True)
    with pytest.raises(OSError, match=r"\w") as caught:
        read(path)
    assert caught.value.errno == number
    assert caught.value.strerror


def test_a_pipe_is_not_waited_for(tmp_path, waits):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "canary").write_bytes(b"x")
    with pytest.raises(OSError, match="it is a pipe or a device, not a file"):
        read_image(str(tmp_path / "pipe.jpg"), str(tmp_path / "canary"), storage.read_bytes)
    assert waits == []


def test_what_may_come_back_is_waited_for(tmp_path, waits):
    fsspec.register_implementation("odd", OddStore, clobber=True)
    with pytest.raises(OSError, match="the server has a bad day"):
        read_image("odd://runtime", None, storage.read_bytes)
    assert len(waits) == 2


def test_a_folder_is_none_of_these(tmp_path):
    with pytest.raises(IsADirectoryError):
        storage.read_bytes(str(tmp_path))
