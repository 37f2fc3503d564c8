"""Object storage over HTTP, from a real client to a real server."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest

from odtk_ray import storage
from odtk_ray.errors import OdtkError
from odtk_ray.storage import object_stores, retry


def test_what_is_put_can_be_read_listed_replaced_and_removed(s3):
    uri = f"{s3.url}/folder/a.bin"
    storage.write_atomic(uri, b"first")
    storage.write_atomic(uri, b"second")
    assert storage.read_bytes(uri) == b"second"
    assert storage.list_files(f"{s3.url}/folder", recursive=False).names == ["a.bin"]
    assert storage.exists(uri)
    with storage.local_copy(uri) as path, open(path, "rb") as stream:
        assert stream.read() == b"second"
    object_stores.remove(uri)
    object_stores.remove(uri)
    assert not storage.exists(uri)


def test_of_many_that_create_an_object_one_does(s3):
    uri = f"{s3.url}/epoch-0001"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: object_stores.create(uri, b"%d" % i), range(8)))
    assert made.count(True) == 1
    assert storage.read_bytes(uri) == b"%d" % made.index(True)


def test_a_file_of_several_parts_arrives_whole(s3, tmp_path):
    data = bytes(range(256)) * (60 << 12)  # 60 MiB
    (tmp_path / "big").write_bytes(data)
    object_stores.upload(str(tmp_path / "big"), f"{s3.url}/big")
    assert storage.read_bytes(f"{s3.url}/big") == data


def test_a_store_that_does_not_answer_raises_os_errors(s3):
    s3.server.stop()
    try:
        with pytest.raises(OSError, match="connect"):
            object_stores.put(f"{s3.url}/x", b"")
        with pytest.raises(OSError, match="connect"):
            object_stores.create(f"{s3.url}/x", b"")
    finally:
        s3.server.start()


def test_patience_ends_when_storage_is_back_and_with_definite_answers(monkeypatch):
    failures = iter([OSError(errno.EIO, "away"), OSError(errno.ESTALE, "away")])

    def call():
        for failure in failures:
            raise failure
        return "there"

    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.01)
    assert retry.with_retries(call) == "there"
    for definite in (FileNotFoundError("x"), OSError(errno.ENOSPC, "full")):
        calls = []

        def fail(error=definite, calls=calls):
            calls.append(1)
            raise error

        with pytest.raises(type(definite)):
            retry.with_retries(fail)
        assert len(calls) == 1


def test_an_image_fails_alone_only_while_another_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "_FIRST_PAUSE", 0.01)
    canary = tmp_path / "canary"
    canary.write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        retry.read_image(str(tmp_path / "missing"), str(canary), storage.read_bytes)
    canary.unlink()
    monkeypatch.setattr(retry, "OUTAGE", 0.05)
    with pytest.raises(OdtkError, match="cannot be read any more"):
        retry.read_image(str(tmp_path / "missing"), str(canary), storage.read_bytes)
