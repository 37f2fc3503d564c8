"""Files by path or URI: local paths with plain calls, everything else through pyarrow or fsspec."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import posixpath
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from odtk_ray.errors import UsageError
from odtk_ray.storage.os_errors import os_errors

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


_COPY_CHUNK = 8 << 20
_PYARROW_SCHEMES = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")


@dataclass(frozen=True)
class Listing:
    """The files in a folder.

    Attributes:
        names: paths relative to the folder, with forward slashes, sorted.
        folders: number of sub-folders that were not entered.
        outside: number of symbolic links left out because they lead out of the folder.
        odd: number of links to folders or to nothing, of pipes, devices and sockets.
    """

    names: list[str]
    folders: int
    outside: int
    odd: int = 0


def is_uri(path: str) -> bool:
    """Return whether `path` is a URI, such as `s3://bucket/key`."""
    return "://" in path


def local_path(path: str) -> str:
    """Return the local path that a `file://` URI stands for; other URIs and paths stay.

    Raises:
        OSError: the URI names a host, or has a `#`, which ends the path of other URIs.
    """
    if path[:7].lower() != "file://":
        return path
    host, slash, rest = path[7:].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise OSError(errno.EINVAL, "local files have three slashes: file:///folder/name", path)
    if "#" in rest:
        why = "# ends the path of a URI: write %23 for it, or the path without file://"
        raise OSError(errno.EINVAL, why, path)
    return unquote(f"/{rest}", errors="surrogateescape")


def is_text(name: str) -> bool:
    """Return whether a file name can be written to JSON and Parquet, that is, is valid UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def join(root: str, name: str) -> str:
    """Return the path or URI of `name` below `root`."""
    return posixpath.join(root, name) if is_uri(root) else os.path.join(root, name)


def absolute(path: str) -> str:
    """Return a path that every process can use; URIs stay, `file://` URIs become local paths.

    Raises:
        UsageError: as `local_path` raises OSError.
    """
    try:
        path = local_path(path)
    except OSError as error:
        raise UsageError(f"cannot use {path}", str(error.strerror)) from error
    return path if is_uri(path) else os.path.abspath(path)


def exists(path: str) -> bool:
    """Return whether a file or folder exists."""
    path = local_path(path)
    if not is_uri(path):
        return os.path.lexists(path)
    from pyarrow import fs

    source, inner = filesystem(path)
    return bool(source.get_file_info(inner.rstrip("/")).type != fs.FileType.NotFound)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Yield the local path of a file; a file behind a URI is copied while the context lasts."""
    path = local_path(path)
    if not is_uri(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="odtk-ray-") as folder:
        copy = os.path.join(folder, posixpath.basename(path))
        with open_input(path) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, _COPY_CHUNK)
        yield copy


@functools.lru_cache(maxsize=32)
def _filesystem(scheme: str, host: str) -> FileSystem:
    import fsspec
    from pyarrow import fs

    try:
        return fs.FileSystem.from_uri(f"{scheme}://{host}/")[0]
    except (ValueError, NotImplementedError):  # a scheme that pyarrow lacks, such as memory://
        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))


def _inner(scheme: str, uri: str) -> str:
    """Return a URI's path as its filesystem wants it."""
    if scheme in _PYARROW_SCHEMES:
        return uri.split("://", 1)[1]
    import fsspec

    return str(fsspec.get_filesystem_class(scheme)._strip_protocol(uri))


def filesystem(uri: str) -> tuple[FileSystem, str]:
    """Return the filesystem behind a URI, and the path inside it.

    Raises:
        OSError, ValueError, ImportError: the filesystem is unknown or cannot be reached.
    """
    parts = urlsplit(uri)
    return _filesystem(parts.scheme, parts.netloc), _inner(parts.scheme, uri)


def open_input(path: str) -> BinaryIO:
    """Open a file as a readable, seekable binary stream.

    Raises:
        OSError: it cannot be opened, whatever its storage library raises, or is no regular file: a
            pipe would be waited for, and some devices never end.
    """
    with os_errors(path):
        path = local_path(path)
        if not is_uri(path):
            return open(path, "rb", opener=_open_regular)
        source, inner = filesystem(path)
        return cast(BinaryIO, source.open_input_file(inner))


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK)  # does not wait for the writer of a pipe
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # `open` says itself what is wrong with a folder
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ENXIO, "it is a pipe or a device, not a file", path)


def read_bytes(path: str) -> bytes:
    """Read the whole content of a file.

    Raises:
        OSError: as `open_input`.
    """
    with os_errors(path), open_input(path) as stream:
        return stream.read()


def is_folder(path: str) -> bool:
    """Return whether `path` is an existing folder."""
    path = local_path(path)
    if not is_uri(path):
        return os.path.isdir(path)
    from pyarrow import fs

    source, inner = filesystem(path)
    return bool(source.get_file_info(inner.rstrip("/")).type == fs.FileType.Directory)


def list_files(root: str, *, recursive: bool, bound: str | None = None) -> Listing:
    """List the files in a folder, or below it.

    Symbolic links are followed to files that stay inside `bound`, never to folders: a link must
    not let a run read files that its user did not name.

    Args:
        root: folder or URI.
        recursive: enter sub-folders.
        bound: folder that links may lead to; None is `root` itself.
    """
    root = local_path(root)
    if is_uri(root):
        return _list_remote(root, recursive)
    names: list[str] = []
    folders = outside = odd = 0
    real_bound = os.path.realpath(bound or root)
    for name, entry in walk_folder(root, recursive=recursive):
        if entry.is_dir(follow_symlinks=False):
            folders += 1
        elif entry.is_symlink() and not inside(entry.path, real_bound):
            outside += 1
        elif entry.is_file():
            names.append(name)
        else:
            odd += 1
    return Listing(sorted(names), folders, outside, odd)


def walk_folder(root: str, *, recursive: bool) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield what is in a local folder, by its name with forward slashes, in any order.

    Args:
        root: the folder.
        recursive: enter sub-folders instead of yielding them; links to folders are never entered.

    Raises:
        OSError: a folder cannot be listed.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if recursive and entry.is_dir(follow_symlinks=False):
                    pending.append(name)
                else:
                    yield name, entry


def inside(path: str, real_root: str) -> bool:
    """Return whether a local path, links resolved, lies in `real_root`, which is resolved."""
    return os.path.realpath(path).startswith(real_root.rstrip(os.sep) + os.sep)


def _list_remote(root: str, recursive: bool) -> Listing:
    from pyarrow import fs

    source, inner = filesystem(root)
    base = inner.rstrip("/")
    infos = source.get_file_info(fs.FileSelector(base, recursive=recursive))
    skip = len(base.strip("/"))  # some filesystems begin their paths with a slash, some do not
    paths = (info.path.strip("/") for info in infos if info.type == fs.FileType.File)
    files = [path[skip:].lstrip("/") for path in paths]
    folders = sum(i.type == fs.FileType.Directory for i in infos)
    return Listing(sorted(files), 0 if recursive else folders, 0)


def existing(root: str, names: Iterable[str]) -> Iterator[bool]:
    """Yield for each name below `root` whether that file exists and stays inside `root`.

    Each parent folder is listed once, which is far quicker than asking for every file.
    """
    real_root = "" if is_uri(root) else os.path.realpath(root)
    listed: dict[str, set[str]] = {}
    for name in names:
        parent, _, leaf = name.rpartition("/")
        if parent not in listed:
            folder = join(root, parent) if parent else root
            if parent and real_root and not inside(folder, real_root):
                listed[parent] = set()
            else:
                try:
                    found = list_files(folder, recursive=False, bound=root)
                    listed[parent] = set(found.names)
                except OSError:
                    listed[parent] = set()
        yield leaf in listed[parent]
