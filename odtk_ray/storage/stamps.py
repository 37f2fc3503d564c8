"""What says that a file was replaced: its size, the store's ETag, its time.

They come with the listing: an object store sends them with the names, a thousand at a time, and a
file system has them in its folder's entries or beside them, without opening a file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from odtk_ray.storage import object_stores
from odtk_ray.storage.files import filesystem, inside, is_uri, walk_folder


class Stamp(NamedTuple):
    """What a listing says of a file's content; 0 where it does not say it.

    Attributes:
        size: bytes.
        etag: 64 bits of a hash of the ETag or checksum that an object store has.
        time: of the last change, in a unit of the storage's own.
    """

    size: int
    etag: int
    time: int


# A file that is not there.
MISSING = Stamp(-1, 0, 0)
# A link that leads out of the folder.
OUTSIDE = Stamp(-2, 0, 0)

_REQUESTS = 32  # at once, for files that no listing has

# What stores call the hash of an object, the best first: some ETags change with metadata.
_ETAGS = ("md5Hash", "crc32c", "ETag", "etag")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")


def list_stamps(root: str, *, recursive: bool) -> Iterator[tuple[str, Stamp]]:
    """Yield the names below a folder, with forward slashes, and their stamps, in any order.

    Sub-folders are entered as `list_files` enters them. Links that lead out are `OUTSIDE`, those
    to folders too.

    Args:
        root: folder or URI.
        recursive: enter sub-folders.

    Raises:
        OSError: it cannot be listed.
    """
    return _remote(root, recursive) if is_uri(root) else _local(root, recursive)


def file_stamps(paths: Sequence[str]) -> list[Stamp]:
    """Return the stamp of each of some files: `MISSING` where it cannot be had.

    Args:
        paths: local paths or URIs, each of which costs a request.
    """
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(_file_stamp, paths))


def _file_stamp(path: str) -> Stamp:
    try:
        if is_uri(path):
            return _object_stamp(object_stores.object_facts(path))
        about = os.stat(path)
    except (OSError, ImportError, ValueError):
        return MISSING
    return Stamp(about.st_size, 0, about.st_mtime_ns)


def _local(root: str, recursive: bool) -> Iterator[tuple[str, Stamp]]:
    bound = os.path.realpath(root)
    for name, entry in walk_folder(root, recursive=recursive):
        if entry.is_symlink() and not inside(entry.path, bound):
            yield name, OUTSIDE
        elif entry.is_file():
            about = entry.stat()
            yield name, Stamp(about.st_size, 0, about.st_mtime_ns)


def _remote(root: str, recursive: bool) -> Iterator[tuple[str, Stamp]]:
    try:
        base, objects = object_stores.list_objects(root, recursive)
    except Exception:  # no package for this store, or other credentials: pyarrow has no ETags
        yield from _remote_without_etags(root, recursive)
        return
    for path, about in objects.items():
        yield path.strip("/")[len(base) :].lstrip("/"), _object_stamp(about)


def _remote_without_etags(root: str, recursive: bool) -> Iterator[tuple[str, Stamp]]:
    from pyarrow import fs

    source, inner = filesystem(root)
    skip = len(inner.strip("/"))
    for info in source.get_file_info(fs.FileSelector(inner.rstrip("/"), recursive=recursive)):
        if info.type == fs.FileType.File:
            name = info.path.strip("/")[skip:].lstrip("/")
            yield name, Stamp(info.size or 0, 0, info.mtime_ns or 0)


def _object_stamp(about: Mapping[str, Any]) -> Stamp:
    size = about.get("size")
    return Stamp(size if isinstance(size, int) else 0, _hash(about, _ETAGS), _hash(about, _TIMES))


def _hash(about: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    """Return 63 bits of a hash of the first of these values that is there; 0 if none is."""
    value = next((about[key] for key in keys if about.get(key)), None)
    if value is None:
        return 0
    digest = hashlib.blake2b(str(value).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
