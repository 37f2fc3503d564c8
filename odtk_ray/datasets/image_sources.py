"""Lists the images of a folder, a file, a glob, a list or a URI, without an annotation file."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
from dataclasses import dataclass, field

import pyarrow as pa

from odtk_ray import storage
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.records import RECORD_SCHEMA

# What Pillow decodes and cameras, scanners and data sets use.
IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .jp2".split()
)
LIST_EXTENSIONS = frozenset((".txt", ".lst"))
_WILDCARDS = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Dataset:
    """The planned images, and their origin as the outputs state it.

    Attributes:
        records: a table of RECORD_SCHEMA, in record order.
        categories: the annotation file's `categories`, verbatim; None when it has none.
        annotations: path of the annotation file, if any.
        has_truth: whether it holds ground truth.
        digest: SHA-256 of the annotation file; empty without one.
        missing: `image_id` texts of images that were left out because their file is missing.
        notes: remarks for the user, such as how many files were skipped.
        warnings: what is probably wrong with the annotation file.
        used: JSON texts of the category ids that annotations use, where names of categories repeat.
    """

    records: pa.Table
    categories: list[dict[str, object]] | None = None
    annotations: str | None = None
    has_truth: bool = False
    digest: str = ""
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    used: frozenset[str] = frozenset()


def find_images(images: str, *, recursive: bool = False, limit: int | None = None) -> Dataset:
    """Find the images that `--images` names, sorted by name, with ids 0..n-1 as in ODTK.

    Raises:
        UsageError: nothing is there, or nothing in it is an image.
    """
    try:
        names, paths, notes = _resolve(images, recursive)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"cannot read images from {images}", _clause(error)) from error
    if not paths:
        why = "; ".join(notes) or "it is empty"
        raise UsageError(f"no images in {images}", why, "give a folder, file, glob, list or URI")
    return Dataset(_records(names[:limit], paths[:limit]), notes=notes)


def _resolve(images: str, recursive: bool) -> tuple[list[str], list[str], list[str]]:
    """Return file names as the outputs show them, paths, and notes."""
    given, uri = images, storage.is_uri(images)
    images = images if uri else os.path.abspath(os.path.expanduser(images))
    if not uri and os.path.isfile(images):
        if _extension(images) in LIST_EXTENSIONS:
            return _from_list(images)
        return [os.path.basename(images)], [images], []
    if _WILDCARDS.search(images) and not (not uri and os.path.exists(images)):
        return _from_glob(images)
    if storage.is_folder(images):
        return _from_folder(images, recursive)
    if uri and _extension(images):  # one remote file; a missing one is a failed row
        return [images.rsplit("/", 1)[1]], [images], []
    raise FileNotFoundError(errno.ENOENT, "there is no such file or folder", given)


def _from_folder(root: str, recursive: bool) -> tuple[list[str], list[str], list[str]]:
    listing = storage.list_files(root, recursive=recursive)
    names, notes = _images_among(listing.names)
    if listing.outside:
        links = counted(listing.outside, "link that leads", "links that lead")
        notes.append(f"left out {links} out of the folder")
    if listing.folders:
        notes.append(f"did not enter {counted(listing.folders, 'sub-folder')} (--recursive does)")
    return names, [storage.join(root, name) for name in names], notes


def _images_among(names: list[str]) -> tuple[list[str], list[str]]:
    """Return the names that look like images and are valid text, and notes about the others."""
    images = [name for name in names if _extension(name) in IMAGE_EXTENSIONS]
    usable = [name for name in images if storage.is_text(name)]
    notes = []
    if others := len(names) - len(images):
        notes.append(f"files skipped because they are no images: {others:,}")
    if odd := len(images) - len(usable):
        notes.append(f"images skipped because their names are no UTF-8: {odd:,}")
    return usable, notes


def _from_list(path: str) -> tuple[list[str], list[str], list[str]]:
    """Read one path or URI per line; relative ones start at the list's own folder."""
    with open(path, encoding="utf-8") as lines:
        names = [line.strip() for line in lines]
    names = [name for name in names if name and not name.startswith("#")]
    folder = os.path.dirname(path)
    return names, [n if storage.is_uri(n) else os.path.join(folder, n) for n in names], []


def _from_glob(pattern: str) -> tuple[list[str], list[str], list[str]]:
    first = _WILDCARDS.search(pattern)
    base = pattern[: first.start() if first else 0].rpartition("/")[0]
    if storage.is_uri(pattern):
        wanted = re.compile(_glob_to_regex(pattern[len(base) + 1 :]))
        found = storage.list_files(base, recursive=True).names
        paths = [storage.join(base, name) for name in found if wanted.fullmatch(name)]
    else:
        paths = sorted(p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
    kept, notes = _images_among(paths)
    return [path[len(base) :].lstrip("/") for path in kept], kept, notes


def _glob_to_regex(pattern: str) -> str:
    """Translate a glob; `*` and `?` stay within a folder, `**/` crosses folders."""
    tokens = re.findall(r"\*\*/|\*|\?|\[[^\]]+\]|.", pattern)
    special = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        special.get(t, t if t.startswith("[") and t[1:] else re.escape(t)) for t in tokens
    )


def _records(names: list[str], paths: list[str]) -> pa.Table:
    n = len(paths)
    entries = [json.dumps({"id": i, "file_name": name}) for i, name in enumerate(names)]
    columns = [range(n), map(str, range(n)), names, paths, [0] * n, [0] * n, entries]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, RECORD_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=RECORD_SCHEMA)


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _clause(error: BaseException) -> str:
    """Return the first line of an exception's text, or its name."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().split("\n", 1)[0] or type(error).__name__
