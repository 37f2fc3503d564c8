"""Reads detections from files: of this program and of others, JSON, JSON lines, CSV, Parquet."""

from __future__ import annotations

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.datasets.detection_builder import DetectionBuilder, Universe
from odtk_ray.datasets.detection_columns import TableColumns
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.id_lookup import Key
from odtk_ray.datasets.json_stream import JsonError, parse, scan
from odtk_ray.datasets.problems import shown
from odtk_ray.errors import UsageError
from odtk_ray.nearest import did_you_mean

_LINES = 8 << 20  # bytes of JSON lines parsed at a time
_ROWS = 1 << 17  # rows of a table at a time


def read_detections(
    path: str, universe: Universe, *, rotated: bool = False
) -> tuple[DetectionTable, list[str]]:
    """Read a file of detections.

    Args:
        path: file or URI; its ending says the format.
        universe: the images and categories that the detections may be of.
        rotated: whether boxes have theta.

    Returns:
        the detections, and a remark for each kind of those that are left out.

    Raises:
        UsageError: it cannot be read to its end, or does not hold detections.
    """
    read = next((read for end, read in _FORMATS.items() if path.endswith(end)), None)
    if read is None:
        ending = path[path.rfind(".") :] if "." in path else path
        raise UsageError(
            f"{path} is of no known format",
            f"the name of a file of detections ends in one of {', '.join(_FORMATS)}",
            did_you_mean(ending, _FORMATS),
        )
    builder = DetectionBuilder(path, universe, rotated=rotated)
    try:
        with storage.open_input(path) as stream:
            read(stream, path, builder)
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
    except (JsonError, csv.Error, pa.ArrowException, UnicodeDecodeError) as error:
        raise _unusable(path, str(error).partition("\n")[0]) from error
    return builder.build()


def _read_json(stream: BinaryIO, path: str, builder: DetectionBuilder) -> None:
    """Read a list of results, or the object of ODTK, whose `annotations` are detections."""
    found = False
    for chunk in scan(stream, ("annotations", "categories"), root="annotations"):
        if chunk.key == "categories":
            builder.compare_categories(chunk.items if chunk.is_array else [])
            continue
        found = True
        if not chunk.is_array:
            raise _unusable(path, "its `annotations` are not a list")
        _add_entries(path, builder, chunk.items, chunk.items)
    if not found:
        raise _unusable(path, "it is neither a list of detections nor an object with `annotations`")


def _read_lines(stream: BinaryIO, path: str, builder: DetectionBuilder) -> None:
    """Read a line for each image, with its `detections`, or a line for each detection."""
    for lines in _line_batches(stream):
        owners: list[Any] = []
        entries: list[Any] = []
        for number, line in lines:
            try:
                item = parse(line, 0)
            except JsonError as error:
                raise _unusable(path, f"line {number:,} is not JSON: {error}") from error
            inside = item.get("detections", [item]) if isinstance(item, dict) else [item]
            if not isinstance(inside, list):
                raise _unusable(path, f"`detections` of line {number:,} are not a list")
            owners += [item] * len(inside)
            entries += inside
        _add_entries(path, builder, owners, entries)


def _line_batches(stream: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """Yield the lines that are not blank, with their numbers, some megabytes at a time."""
    number = 1
    if stream.read(len(BOM_UTF8)) != BOM_UTF8:
        stream.seek(0)
    while lines := stream.readlines(_LINES):
        yield [(n, line) for n, line in enumerate(lines, number) if line.strip()]
        number += len(lines)


def _add_entries(
    path: str, builder: DetectionBuilder, owners: Sequence[Any], entries: Sequence[Any]
) -> None:
    """Add objects with category, score and bbox; their owners say of which image they are."""
    if not entries:
        return
    for item in (*owners, *entries):
        if not isinstance(item, dict):
            raise _unusable(path, f"{shown(item)} is no detection")
    image_key = Key("image_id") if "image_id" in owners[0] else Key("file_name", by_name=True)
    category_key = Key("category_id")
    if "category_id" not in entries[0] and "category" in entries[0]:
        category_key = Key("category", by_name=True)
    try:
        images = list(map(itemgetter(image_key.column), owners))
        read = itemgetter(category_key.column, "score", "bbox")
        categories, scores, boxes = zip(*map(read, entries), strict=True)
    except KeyError as error:
        raise _missing(path, str(error.args[0]), entries) from error
    try:
        score, bbox = _numbers(scores), _numbers(boxes)
    except (TypeError, ValueError, OverflowError) as error:
        raise _unusable(path, "a score is no number, or a bbox not four or five") from error
    if score.ndim != 1 or bbox.ndim != 2:
        raise _unusable(path, "a score is no number, or a bbox not four or five")
    builder.add((image_key, images), (category_key, list(categories)), score, bbox)


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    found = np.array(values)
    if found.dtype.kind not in "iufO":  # objects: None, and integers beyond 64 bits
        raise TypeError("text, or true and false")
    return found.astype(np.float64)


def _missing(path: str, key: str, entries: Sequence[Any]) -> UsageError:
    if key == "score" and not any("score" in entry for entry in entries):
        return _unusable(path, "its boxes have no score: it looks like an annotation file")
    row = next((i for i, entry in enumerate(entries) if key not in entry), 0)
    return _unusable(path, f"a detection has no {key}: {shown(entries[row])}")


def _read_csv(stream: BinaryIO, path: str, builder: DetectionBuilder) -> None:
    """Read a table with a header."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    names = next(csv.reader(text), [])
    columns = TableColumns.choose(path, names)
    text.seek(0)
    table = pa_csv.read_csv(
        text.detach(),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),  # of ids and names
        convert_options=pa_csv.ConvertOptions(
            include_columns=columns.used,
            column_types=dict.fromkeys(columns.texts, pa.string())
            | dict.fromkeys(columns.numbers, pa.float64()),
            strings_can_be_null=False,
        ),
    )
    for batch in table.to_batches(max_chunksize=_ROWS):
        columns.add(batch, builder)


def _read_parquet(stream: BinaryIO, path: str, builder: DetectionBuilder) -> None:
    """Read a table; a column `bbox` may hold lists of numbers."""
    file = pq.ParquetFile(stream)
    columns = TableColumns.choose(path, file.schema_arrow.names)
    for batch in file.iter_batches(batch_size=_ROWS, columns=columns.used):
        columns.add(batch, builder)


def _unusable(path: str, why: str) -> UsageError:
    hint = (
        "a detection has image_id, category_id, bbox and score; "
        "odtk-ray infer writes such files, and docs/evaluate.md has their columns"
    )
    return UsageError(f"cannot use {path} as detections", why, hint)


_FORMATS: dict[str, Callable[[BinaryIO, str, DetectionBuilder], None]] = {
    ".json": _read_json,
    ".jsonl": _read_lines,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
