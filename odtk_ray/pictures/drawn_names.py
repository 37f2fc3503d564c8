"""Names of drawn pictures: those of the originals, where file systems and other names allow it."""

from __future__ import annotations

import hashlib
import itertools
import os
import posixpath
from collections.abc import Iterable

# Formats that are drawn as they came; everything else becomes PNG.
KEPT_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
# File systems take names of 255 bytes; numbers, and the temporary names of files, make them longer.
_LONGEST = 215


def drawn_names(file_names: Iterable[str]) -> list[str]:
    """Return a name below the folder for the drawing of every image, all of them different.

    Names that come from lists may be absolute paths or URIs; they are kept below the folder. `.png`
    is added to formats that are not written; long names are shortened; of equal names the later
    ones get a number.

    Args:
        file_names: as the outputs show them, in record order.
    """
    files: set[str] = set()
    folders: set[str] = set()
    names = []
    for file_name in file_names:
        name = _below(file_name)
        if any(parent in files for parent in _parents(name)):
            name = shortened(name.replace("/", "_"))
        stem, ending = posixpath.splitext(name)
        numbered = (f"{stem}-{number}{ending}" for number in itertools.count(2))
        free = (n for n in itertools.chain([name], numbered) if not (n in files or n in folders))
        name = next(free)
        files.add(name)
        folders.update(_parents(name))
        names.append(name)
    return names


def _below(file_name: str) -> str:
    """Return a relative path without `.` and `..` whose parts have a length that can be written."""
    path = file_name.split("://", 1)[-1]
    parts = [part for part in path.split("/") if part not in ("", ".", "..")] or ["image"]
    ending = os.path.splitext(parts[-1])[1].lower()
    if ending not in KEPT_FORMATS:
        parts[-1] += ".png"
    return "/".join(map(shortened, parts))


def shortened(part: str, longest: int = _LONGEST) -> str:
    """Return a file name of at most so many bytes; a shortened one ends in part of its hash."""
    if len(part.encode(errors="surrogateescape")) <= longest:
        return part
    stem, ending = os.path.splitext(part)
    mark = hashlib.sha256(part.encode(errors="surrogateescape")).hexdigest()[:8]
    room = longest - len(mark) - 1 - len(ending.encode(errors="surrogateescape"))
    return f"{stem.encode()[:room].decode(errors='ignore')}-{mark}{ending}"


def _parents(name: str) -> list[str]:
    """Return the folders that a relative path lies in."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
