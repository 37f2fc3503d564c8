"""Reads COCO annotation files as streams: their images, and their ground truth."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from odtk_ray import storage
from odtk_ray.datasets.annotation_paths import (
    below,
    image_folder,
    image_path,
    is_file_name,
    leads_out,
    outside,
)
from odtk_ray.datasets.coco_entries import (
    check_categories,
    checked_id,
    malformed,
    read_categories,
    unreadable,
)
from odtk_ray.datasets.ground_truth import GroundTruth, GroundTruthBuilder
from odtk_ray.datasets.hashing_reader import HashingReader
from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.image_sources import Dataset
from odtk_ray.datasets.json_stream import JsonError, scan
from odtk_ray.datasets.picture_remarks import stated_size
from odtk_ray.datasets.problems import Finding, Findings, Problem
from odtk_ray.datasets.truth_remarks import add_names_that_repeat
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.plural import counted
from odtk_ray.records import RECORD_SCHEMA
from odtk_ray.storage.nearest_path import nearest_path

_HASH_CHUNK = 8 << 20

# A Python string takes three times the memory of an Arrow one, so few are made at a time.
_BATCH = 4096


def file_digest(path: str) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        UsageError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with storage.open_input(path) as stream:
            while chunk := stream.read(_HASH_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise unreadable(path, error) from error
    return digest.hexdigest()


def read_coco(
    path: str, images: str, *, allow_missing: bool = False, limit: int | None = None
) -> Dataset:
    """Read the images that an annotation file names, without parsing its annotations.

    Args:
        path: the annotation file.
        images: folder or URI that `file_name` is relative to.
        allow_missing: leave out images whose file is not there.
        limit: number of images to stop after; None takes all.

    Raises:
        UsageError: the file is no COCO file, repeats ids, or names files that are missing or
            lie outside `images`.
    """
    images = image_folder(images)
    tables, categories, has_truth, digest = _read_tables(path, images)
    records = pa.concat_tables(tables) if tables else None
    if records is None or len(records) == 0:
        raise malformed(path, "it has no `images`" if records is None else "`images` is empty")
    if has_truth and categories is None:
        raise malformed(path, "it has `annotations` but no `categories`")
    _check_ids(path, records)
    check_categories(path, categories or [])
    records, missing = _present(path, images, records.slice(0, limit), allow_missing)
    index = pa.array(np.arange(len(records)), pa.int64())
    findings = Findings()
    add_names_that_repeat(findings, categories or [])
    ambiguous = has_truth and findings.count(Problem.SAME_NAME)
    gone = counted(len(missing), "image whose file is missing", "images whose files are missing")
    return Dataset(
        records.set_column(0, RECORD_SCHEMA.field("index"), index),
        categories,
        path,
        has_truth,
        digest,
        missing,
        [f"left out {gone}"] if missing else [],
        list(findings),
        _used_categories(path) if ambiguous else frozenset(),
    )


def _read_tables(
    path: str, images: str
) -> tuple[list[pa.Table], list[dict[str, Any]] | None, bool, str]:
    """Read rows of images, categories, whether there are annotations, and the file's SHA-256."""
    tables: list[pa.Table] = []
    categories: list[dict[str, Any]] | None = None
    has_truth = False
    try:
        with storage.open_input(path) as raw:
            stream = HashingReader(raw)
            for chunk in scan(stream, ("images", "categories"), note=("annotations",)):
                if not chunk.is_array:
                    raise malformed(path, f"its `{chunk.key}` is not a list")
                if chunk.key == "annotations":
                    has_truth = True
                elif chunk.key == "images":
                    tables.append(_records(path, images, chunk.items))
                else:
                    categories = [*(categories or []), *read_categories(path, chunk.items)]
            return tables, categories, has_truth, stream.hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
    except JsonError as error:
        raise malformed(path, str(error)) from error


def read_truth(
    path: str,
    image_index: Mapping[str, int],
    category_index: Mapping[str, int],
    rotated: bool = False,
    partial: bool = False,
) -> tuple[GroundTruth, list[Finding]]:
    """Read the ground truth of an annotation file, and find what is wrong with it.

    Args:
        path: the annotation file.
        image_index: record index for the JSON text of each image id.
        category_index: position in `categories` for the JSON text of each category id.
        rotated: whether outlines are to be found, not boxes.
        partial: whether the file has more images than `image_index`, which are not evaluated.

    Raises:
        OdtkError: the file cannot be read to its end. That shows late, since planning passes over
            the annotations without parsing them.
    """
    try:
        others = _values(path, "images", "id") if partial else frozenset()
        builder = GroundTruthBuilder(image_index, category_index, rotated, others)
        with storage.open_input(path) as stream:
            for chunk in scan(stream, ("annotations",)):
                builder.add(chunk.items)
    except (OSError, JsonError) as error:
        raise OdtkError(
            f"cannot score against {path}",
            str(error),
            "the detections are written and kept: repair the file and continue with --resume",
        ) from error
    return builder.build(), list(builder.findings)


def _used_categories(path: str) -> frozenset[str]:
    """Read the JSON texts of the category ids that annotations have."""
    try:
        return _values(path, "annotations", "category_id")
    except (OSError, JsonError) as error:
        raise malformed(path, str(error)) from error


def _values(path: str, table: str, key: str) -> frozenset[str]:
    """Read the ids that the entries of a table have under a key, as JSON texts."""
    with storage.open_input(path) as stream:
        return frozenset(
            id_text(item.get(key))
            for chunk in scan(stream, (table,))
            for item in chunk.items
            if isinstance(item, dict)
        )


def _records(path: str, images: str, items: list[Any]) -> pa.Table:
    """Convert entries of `images` to rows; the index is filled in later."""
    columns: list[list[Any]] = [[] for _ in RECORD_SCHEMA]
    for item in items:
        if not isinstance(item, dict):
            raise malformed(path, "an entry of `images` is not an object")
        name = item.get("file_name")
        if not is_file_name(name):
            raise malformed(path, f"image {json.dumps(item.get('id'))} has no usable file_name")
        row = (
            0,
            checked_id(path, item.get("id"), name),
            name,
            image_path(images, name),
            *stated_size(item),
            json.dumps(item),
        )
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, RECORD_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=RECORD_SCHEMA)


def _check_ids(path: str, records: pa.Table) -> None:
    ids = records["image_id"]
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    raise malformed(
        path,
        f"{counted(len(repeated), 'image id occurs', 'image ids occur')} twice "
        f"(first: {repeated[0]['values']})",
    )


def _present(
    path: str, images: str, records: pa.Table, allow_missing: bool
) -> tuple[pa.Table, list[str]]:
    """Return the records whose file exists, and the ids of the others."""
    relative = _relative(images, records)
    here = np.fromiter(storage.existing(images, relative), bool, len(records))
    if here.all():
        return records, []
    gone = np.flatnonzero(~here)
    for i in gone:
        if leads_out(images, records["path"][i].as_py()):
            raise outside(records["file_name"][i].as_py(), images)
    if not allow_missing or len(gone) == len(records):
        raise UsageError(
            f"{len(gone):,} of {counted(len(records), 'image')} of {os.path.basename(path)} "
            f"{'is' if len(gone) == 1 else 'are'} not in {images}",
            f"the first is {records['file_name'][gone[0]].as_py()}",
            _meant(images, records["path"][gone[0]].as_py())
            + "check --images; --allow-missing runs the rest and says so in the metrics file",
        )
    return records.filter(pa.array(here)), records["image_id"].take(gone).to_pylist()


def _meant(images: str, path: str) -> str:
    """Ask in a hint for the image that was probably meant, such as `a.JPG` for `a.jpg`."""
    found = nearest_path(path)
    return f"did you mean {below(images, found)}? " if found else ""


def _relative(images: str, records: pa.Table) -> Iterator[str]:
    """Normalise every path, relative to the image folder."""
    for batch in records.to_batches(max_chunksize=_BATCH):
        for path in batch["path"].to_pylist():
            yield below(images, path)
