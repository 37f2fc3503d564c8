"""Reads a list of images: one path or URI a line, in UTF-8."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from typing import TextIO

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted

# Characters of a line; the system's paths have 4,096. A file with longer lines is no list, and may
# be too large to be read.
_LONGEST = 1 << 16
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HINT = "a list has one path or URI a line, in UTF-8; relative paths start at its folder"


def read_list(path: str) -> tuple[list[str], list[str], list[str]]:
    """Read a list file.

    Empty lines are left out, and those that begin with `#`, which is said. A line that names no
    file is kept, to be a failed row.

    Args:
        path: local, existing.

    Returns:
        the lines, the paths that they stand for, and notes.

    Raises:
        UsageError: it is no text, or none of its lines names a file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as stream:
        if stream.read(2) in _UTF16:
            how = f"convert it: iconv -f UTF-16 -t UTF-8 {path} > NEW"
            raise UsageError(f"cannot read the list {path}", "it is UTF-16, not UTF-8", how)
    # utf-8-sig: Windows' editors begin files with a byte order mark.
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as text:
        lines = list(_lines(text, path))
    names = [line for line in lines if not line.startswith("#")]
    folder = os.path.dirname(path)
    paths = [name if storage.is_uri(name) else os.path.join(folder, name) for name in names]
    if paths and not any(storage.is_uri(path) or os.path.lexists(path) for path in paths):
        found = counted(len(names), "line")
        why = f"none of its {found} names a file that is there, first {names[0]}"
        raise UsageError(f"{path} is no list of images", why, _HINT)
    comments = counted(len(lines) - len(names), "line that begins", "lines that begin")
    note = f"left out {comments} with # (a name that begins so is written ./#NAME)"
    return names, paths, [note] if len(names) < len(lines) else []


def _lines(text: TextIO, path: str) -> Iterator[str]:
    """Yield the lines that are not empty, without space around them."""
    number = 0
    while line := text.readline(_LONGEST):
        number += 1
        if len(line) == _LONGEST:
            why = f"line {number} has more than {_LONGEST:,} characters"
            raise UsageError(f"{path} is no list of images", why, _HINT)
        if not storage.is_text(line):
            raise UsageError(f"cannot read the list {path}", f"line {number} is not UTF-8", _HINT)
        if line := line.strip():
            yield line
