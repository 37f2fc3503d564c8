"""Lists the images of a folder, a file, a glob, a list or a URI, without an annotation file."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import json
import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from odtk_ray import storage
from odtk_ray.datasets.image_list import read_list
from odtk_ray.datasets.problems import Finding
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.images.decode_image import open_image
from odtk_ray.plural import counted
from odtk_ray.records import RECORD_SCHEMA

# What Pillow decodes and cameras, scanners and data sets use.
IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .jp2 .avif".split()
)
# What telephones name pictures; some of those are JPEGs after all.
_HEIC = (".heic", ".heif")
_ENDINGS = 3  # of skipped files, this many are named
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
        findings: what is probably wrong with the annotation file.
        used: JSON texts of the category ids that annotations use, where names of categories repeat.
    """

    records: pa.Table
    categories: list[dict[str, object]] | None = None
    annotations: str | None = None
    has_truth: bool = False
    digest: str = ""
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    used: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Found:
    """The files that `--images` stands for.

    Attributes:
        names: as the outputs show them.
        paths: where they are.
        notes: what was left out.
        empty: what is said where there is none, and no note.
    """

    names: list[str]
    paths: list[str]
    notes: list[str] = field(default_factory=list)
    empty: str = "it is empty"


def find_images(images: str, *, recursive: bool = False, limit: int | None = None) -> Dataset:
    """Find the images that `--images` names, sorted by name, with ids 0..n-1 as in ODTK.

    Raises:
        UsageError: nothing is there, nothing in it is an image, or a list cannot be read.
    """
    try:
        found = _resolve(images, recursive)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"cannot read images from {images}", _clause(error)) from error
    if not found.paths:
        why = "; ".join(found.notes) or found.empty
        raise UsageError(f"no images in {images}", why, "give a folder, file, glob, list or URI")
    return Dataset(_records(found.names[:limit], found.paths[:limit]), notes=found.notes)


def _resolve(given: str, recursive: bool) -> _Found:
    images = storage.local_path(given)
    uri = storage.is_uri(images)
    images = images if uri else os.path.abspath(os.path.expanduser(images))
    if not uri and os.path.isfile(images):
        if _extension(images) in LIST_EXTENSIONS:
            return _Found(*read_list(images))
        return _one_file(images, given)
    if _WILDCARDS.search(images) and not (not uri and os.path.exists(images)):
        return _from_glob(images)
    if storage.is_folder(images):
        return _from_folder(images, recursive)
    if uri and _extension(images):
        with contextlib.suppress(OSError):  # a missing one is a failed row
            return _one_file(images, given)
        return _Found([images.rsplit("/", 1)[1]], [images])
    if not uri and os.path.lexists(images):
        raise OSError(errno.ENXIO, "it is a pipe, a device or a link to nothing", given)
    raise FileNotFoundError(errno.ENOENT, "there is no such file or folder", given)


def _one_file(path: str, given: str) -> _Found:
    """Return the one image that was named, after a look at its header.

    Raises:
        UsageError: it is no image.
        OSError: it cannot be read.
    """
    try:
        with storage.open_input(path) as stream:
            open_image(stream)
    except ImageError as error:
        coco = "a COCO file is given as --annotations, and the folder of its images as --images"
        hint = coco if _extension(path) == ".json" else "give a folder, file, glob, list or URI"
        raise UsageError(f"no images in {given}", str(error), hint) from error
    return _Found([posixpath.basename(path)], [path])


def _from_folder(root: str, recursive: bool) -> _Found:
    listing = storage.list_files(root, recursive=recursive)
    names, notes = _images_among(listing.names, lambda name: storage.join(root, name))
    notes += _left_out(listing.outside)
    if listing.odd:
        entries = counted(listing.odd, "entry that is no file", "entries that are no files")
        notes.append(f"left out {entries} (links to folders or to nothing, pipes, devices)")
    if listing.folders:
        notes.append(f"did not enter {counted(listing.folders, 'sub-folder')} (--recursive does)")
    return _Found(names, [storage.join(root, name) for name in names], notes)


def _left_out(links: int) -> list[str]:
    """Return a note about links that lead out of the folder, if there are any."""
    count = counted(links, "link that leads", "links that lead")
    return [f"left out {count} out of the folder"] if links else []


def _images_among(names: list[str], path_of: Callable[[str], str]) -> tuple[list[str], list[str]]:
    """Return the names that look like images and are valid text, and notes about the others."""
    images: list[str] = []
    others: Counter[str] = Counter()
    for name in names:
        ending = _extension(name)
        if ending in IMAGE_EXTENSIONS or (ending in _HEIC and _is_decodable(path_of(name))):
            images.append(name)
        else:
            others[ending] += 1
    usable = [name for name in images if storage.is_text(name)]
    notes = []
    if heic := sum(others.pop(ending, 0) for ending in _HEIC):
        count = counted(heic, "HEIC picture")
        notes.append(f"skipped {count}: HEIC is not supported (convert to JPEG or PNG)")
    if others:
        endings = ", ".join(ending or "no ending" for ending, _ in others.most_common(_ENDINGS))
        more = ", ..." if len(others) > _ENDINGS else ""
        notes.append(
            "files skipped because their names are not those of images: "
            f"{others.total():,} ({endings}{more})"
        )
    if odd := len(images) - len(usable):
        notes.append(f"images skipped because their names are no UTF-8: {odd:,}")
    return usable, notes


def _is_decodable(path: str) -> bool:
    """Return whether a file is an image, whatever its name says."""
    try:
        with storage.open_input(path) as stream:
            open_image(stream)
    except (ImageError, OSError):
        return False
    return True


def _from_glob(pattern: str) -> _Found:
    first = _WILDCARDS.search(pattern)
    base = pattern[: first.start() if first else 0].rpartition("/")[0]
    outside = 0
    if storage.is_uri(pattern):
        wanted = re.compile(_glob_to_regex(pattern[len(base) + 1 :]))
        found = storage.list_files(base, recursive=True).names
        paths = [storage.join(base, name) for name in found if wanted.fullmatch(name)]
    else:
        matches = sorted(p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
        paths = list(_staying_in(base or os.sep, matches))
        outside = len(matches) - len(paths)
    kept, notes = _images_among(paths, lambda path: path)
    names = [path[len(base) :].lstrip("/") for path in kept]
    return _Found(names, kept, notes + _left_out(outside), "nothing matches it")


def _staying_in(root: str, paths: list[str]) -> Iterator[str]:
    """Yield the paths that no link leads out of a folder, as for the folder itself."""
    real_root = os.path.realpath(root)

    @functools.cache
    def stays(folder: str) -> bool:
        return storage.inside(os.path.join(folder, "file"), real_root)

    for path in paths:
        followed = not os.path.islink(path) or storage.inside(path, real_root)
        if followed and stays(os.path.dirname(path)):
            yield path


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
