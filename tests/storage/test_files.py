"""Local files that are there whole or not at all."""

from __future__ import annotations

import os
import resource

import pytest

from odtk_ray.storage.files import write_atomic


@pytest.mark.parametrize("data", [b"", b"12345", bytes(3_000_000)])
def test_a_file_gets_its_name_when_its_bytes_are_on_the_disk(tmp_path, synced, monkeypatch, data):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    before, replace = [], os.replace

    def noted(source, target):
        before.extend(synced)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    write_atomic(str(path), data)
    assert path.read_bytes() == data
    assert before == [(path.stat().st_ino, len(data))]
    assert [inode for inode, _ in synced[1:]] == [tmp_path.stat().st_ino]  # and then the name is


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomic(str(path), bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
