"""The only writer of files: each file exists whole or not at all, also after a crash.

A local file is written under a temporary name beside its target, synced to the disk, renamed, and
its folder synced. A file behind a URI is written in the local folder for temporary files and
uploaded, or goes up from memory; an object appears when all of it is there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping

from odtk_ray.storage import object_stores
from odtk_ray.storage.files import is_uri

# Errors of file systems that cannot sync folders, and of folders that can be written but not read.
# The file itself is synced; more is not possible.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)


_RANDOM = secrets.token_hex(4)


class FileDraft:
    """A file that is being written: `publish` moves it to its target, `discard` removes it.

    Permissions are those of a newly made file. Where the target is a link, the link is replaced.

    Args:
        path: of the target, local or a URI.
        tag: of the temporary name, so that another process can remove the part of a killed one
            (`discard_part`); None takes one of the process's own.

    Attributes:
        path: of the target.
        part: local path to write to; nothing is there yet.
    """

    def __init__(self, path: str, tag: str | None = None) -> None:
        self.path = path
        self._spool = tempfile.mkdtemp(prefix="odtk-ray-") if is_uri(path) else ""
        name = posixpath.basename(path) or "file"
        self.part = os.path.join(self._spool, name) if self._spool else part_of(path, tag)

    def publish(self) -> None:
        """Move the file to its target; after an error this may be called again.

        Raises:
            OSError: the storage refuses; the part is still there.
        """
        if is_uri(self.path):
            object_stores.upload(self.part, self.path)
            self.discard()
            return
        os.replace(self.part, self.path)
        sync_folder(os.path.dirname(self.path))

    def sync(self) -> None:
        """Sync the part to the disk; a part that will be uploaded needs no sync."""
        if not self._spool:
            _sync(self.part)

    def discard(self) -> None:
        """Remove the part, if it exists."""
        with contextlib.suppress(OSError):
            os.unlink(self.part)
        if self._spool:
            with contextlib.suppress(OSError):
                os.rmdir(self._spool)


@contextlib.contextmanager
def writing(path: str) -> Iterator[str]:
    """Yield a local name to write to; it becomes `path` if the block succeeds, or is removed.

    Args:
        path: local path or URI.

    Raises:
        OSError: no room, no permission; nothing is left behind, and a file that was there stays.
    """
    draft = FileDraft(path)
    try:
        yield draft.part
        draft.sync()
        draft.publish()
    except BaseException:
        draft.discard()
        raise


def write_together(files: Mapping[str, bytes], tag: str | None = None) -> None:
    """Write several files; a later one never exists without the earlier ones.

    Local files are renamed, in order, once all of them are on the disk: everything that takes time
    or space is done before an existing file is replaced.

    Args:
        files: content by local path or URI.
        tag: as in `FileDraft`.

    Raises:
        OSError: no room, no permission; no part is left behind.
    """
    drafts = []
    try:
        for path, data in files.items():
            if not is_uri(path):
                drafts.append(FileDraft(path, tag))
                _write_synced(drafts[-1].part, data)
        for draft in drafts:
            draft.publish()
    except BaseException:
        for draft in drafts:
            draft.discard()
        raise
    for path, data in files.items():
        if is_uri(path):
            object_stores.put(path, data)


def write_atomic(path: str, data: bytes, tag: str | None = None) -> None:
    """Write a file so that it exists whole or not at all, also after a power cut.

    Args:
        path: local path or URI; an object is written by one request.
        data: the content.
        tag: as in `FileDraft`.

    Raises:
        OSError: no room, no permission; nothing is left behind.
    """
    write_together({path: data}, tag)


def create(path: str, data: bytes) -> bool:
    """Write a small file unless it exists; exactly one of several writers gets True.

    A local file's name appears before its content: hard links, which could create both at once,
    are missing on some file systems. After an error the name stays, since others may have seen it.

    Args:
        path: local path or URI.
        data: the content.

    Raises:
        OSError: no room, no permission.
    """
    if is_uri(path):
        return object_stores.create(path, data)
    try:
        _write_synced(path, data, "xb")
    except FileExistsError:
        return False
    sync_folder(os.path.dirname(path))
    return True


def append(path: str, data: bytes) -> None:
    """Append to a local file and sync it; a crash may leave only the first part of `data`."""
    new = not os.path.exists(path)
    _write_synced(path, data, "ab")
    if new:
        sync_folder(os.path.dirname(path))


def remove(path: str) -> None:
    """Delete a file, local or behind a URI, if it exists."""
    if is_uri(path):
        object_stores.remove(path)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


@contextlib.contextmanager
def making_folder(path: str) -> Iterator[str]:
    """Yield a new local folder; it becomes `path` if the block succeeds, or is removed.

    Raises:
        OSError: there is something at `path`, no room, no permission; nothing is left behind.
    """
    part = part_of(path)
    os.makedirs(part)
    try:
        yield part
        sync_folder(part)
        os.rename(part, path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_folder(os.path.dirname(path))


def remove_folder(path: str) -> None:
    """Delete a local folder; a kill leaves all of it, or only a temporary name."""
    doomed = part_of(path)
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def replace_folder(path: str, by: str) -> None:
    """Give a local folder the place of another, which is deleted, or of none.

    A kill leaves both, the new one alone under its old name, or the new one in its place.

    Args:
        path: of the folder that goes, if there is one.
        by: of the folder that comes, beside it.
    """
    doomed = part_of(path)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, doomed)
    os.rename(by, path)
    sync_folder(os.path.dirname(path))
    shutil.rmtree(doomed, ignore_errors=True)


def part_of(path: str, tag: str | None = None) -> str:
    """Return the temporary name beside a local file or folder: the process's own, or the tag's."""
    return f"{path}.{tag or own_tag()}.tmp"


def own_tag() -> str:
    """Return what no other process puts into its temporary names.

    Numbers of processes come again, in a container with every start: what a killed one left must
    not be in the way.
    """
    return f"{os.getpid()}-{_RANDOM}"


def discard_part(path: str, tag: str) -> None:
    """Remove the temporary file of a writer that was killed; object stores have none."""
    if not is_uri(path):
        with contextlib.suppress(OSError):
            os.unlink(part_of(path, tag))


def sync_folder(folder: str) -> None:
    """Make the names in a local folder durable, where its file system can."""
    try:
        _sync(folder or ".")
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _write_synced(path: str, data: bytes, mode: str = "wb") -> None:
    with open(path, mode) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
