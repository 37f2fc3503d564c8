"""Refuses commands whose files would get in each other's way, before any work is done.

Files are compared by what they are, not by their names: links, relative paths, hard links and
`file://` URIs of one file are one file.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odtk_ray.errors import UsageError
from odtk_ray.storage import files

_OTHER_NAME = "give another name"
_SAME_STORE = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}


@dataclass(frozen=True)
class NamedFile:
    """A file or folder that a command reads or writes.

    Attributes:
        name: for messages, such as `--annotations`.
        path: local path or URI.
        guarded: of a folder that is read: nothing may be written into it.
        removed: of a folder that is written: everything in it goes at the end.
    """

    name: str
    path: str
    guarded: bool = False
    removed: bool = False


def named(name: str, path: str | None) -> list[NamedFile]:
    """Return the file of an option in a list; an empty list if the option was not given."""
    return [] if path is None else [NamedFile(name, path)]


def check_conflicts(reads: Sequence[NamedFile], writes: Sequence[NamedFile]) -> None:
    """Check that no written file is one that is read, or written twice, or lies in the wrong place.

    Args:
        reads: the files and folders that the command reads.
        writes: those that it writes or replaces.

    Raises:
        UsageError: two of them get in each other's way; both are named.
    """
    for i, written in enumerate(writes):
        for read in reads:
            _check_input(read, written)
        for other in writes[:i]:
            _check_outputs(other, written)


def real_path(path: str) -> str:
    """Return the one name of a file: links resolved, `.` and `..` gone, one name a store."""
    path = files.absolute(path)
    if not files.is_uri(path):
        return os.path.realpath(path)
    scheme, _, rest = path.partition("://")
    scheme = scheme.lower()
    return f"{_SAME_STORE.get(scheme, scheme)}://{posixpath.normpath(rest)}"


def _check_input(read: NamedFile, written: NamedFile) -> None:
    if _same(read.path, written.path):
        raise UsageError(
            f"{written.name} {written.path} would replace what {_noun(read)} reads",
            f"both are {real_path(read.path)}",
            _OTHER_NAME,
        )
    if read.guarded and _lies_in(written.path, read.path):
        raise UsageError(
            f"{written.name} {written.path} lies in {_noun(read)}, which is read",
            hint="write to another folder",
        )
    if written.removed and _lies_in(read.path, written.path):
        raise UsageError(
            f"{read.name} {read.path} lies in {_noun(written)}",
            "that folder is deleted at the end",
            f"give another folder as {written.name}",
        )


def _check_outputs(one: NamedFile, other: NamedFile) -> None:
    if _same(one.path, other.path):
        if one.name == other.name:
            raise UsageError(f"{one.name} names {one.path} twice", hint=_OTHER_NAME)
        raise UsageError(
            f"{one.name} and {other.name} are the same file", real_path(one.path), _OTHER_NAME
        )
    for folder, file in ((one, other), (other, one)):
        if folder.removed and _lies_in(file.path, folder.path):
            raise UsageError(
                f"{file.name} {file.path} lies in the run folder, which is deleted at the end",
                hint="write to another folder",
            )


def _noun(file: NamedFile) -> str:
    return file.name if file.path in file.name else f"{file.name} {file.path}"


def _same(one: str, other: str) -> bool:
    return real_path(one) == real_path(other) or (
        (inode := _inode(one)) is not None and inode == _inode(other)
    )


def _lies_in(path: str, folder: str) -> bool:
    return real_path(path).startswith(real_path(folder).rstrip("/") + "/")


def _inode(path: str) -> Any:
    """Return device and number of a local file, which hard links share; None without one."""
    path = files.absolute(path)
    if files.is_uri(path):
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
