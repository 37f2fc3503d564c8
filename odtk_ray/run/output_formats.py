"""Output formats, one writer each, chosen by the file's name."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from odtk_ray.run.odtk_json import OdtkJson
from odtk_ray.run.output_columns import (
    are_integers,
    box_columns,
    box_names,
    corner_columns,
    fill_template,
    id_column,
    joined,
    number_texts,
    per_class,
    per_detection,
    per_image,
    text_column,
)
from odtk_ray.run.output_writer import OutputContext, Writer
from odtk_ray.shards.merge import MergedRows


class CocoResults(Writer):
    """The plain list that pycocotools' `loadRes` takes, one detection a line."""

    _LINE = ',\n{"image_id": %s, "category_id": %s, "bbox": [%s, %s, %s, %s], "score": %s}'
    _ROTATED = (
        ',\n{"image_id": %s, "category_id": %s, "bbox": [%s, %s, %s, %s, %s], "score": %s, '
        '"segmentation": [[%s, %s, %s, %s, %s, %s, %s, %s]]}'
    )

    def __init__(self, stream: IO[bytes], context: OutputContext) -> None:
        self._stream = stream
        self._context = context
        self._empty = True

    def prepare(self, rows: MergedRows, before: int) -> Callable[[], None]:
        """Format one line per detection."""
        lines = fill_template(
            self._ROTATED if rows.rotated else self._LINE,
            per_detection(rows, rows.records["image_id"]),
            per_class(self._context.category_ids, rows),
            *box_columns(rows),
            number_texts(rows.scores),
            *corner_columns(rows),
        )
        return functools.partial(self._add, joined(lines))

    def _add(self, text: memoryview) -> None:
        if self._empty and text:
            self._stream.write(b"[")
            text, self._empty = text[1:], False  # without a comma
        self._stream.write(text)

    def close(self) -> None:
        """End the list."""
        self._stream.write(b"[]\n" if self._empty else b"\n]\n")


class JsonLines(Writer):
    """One line an image, also for images without detections and for failed ones."""

    _ENTRY = '{"category_id": %s, "bbox": [%s, %s, %s, %s], "score": %s}'
    _ROTATED = (
        '{"category_id": %s, "bbox": [%s, %s, %s, %s, %s], "score": %s, '
        '"segmentation": [[%s, %s, %s, %s, %s, %s, %s, %s]]}'
    )
    _LINE = '{"image_id": %s, "file_name": %s, "detections": [%s]%s}\n'

    def __init__(self, stream: IO[bytes], context: OutputContext) -> None:
        self._stream = stream
        self._context = context

    def prepare(self, rows: MergedRows, before: int) -> Callable[[], object]:
        """Format lines with `image_id`, `file_name`, `detections`, and the `error` of a failure."""
        entries = fill_template(
            self._ROTATED if rows.rotated else self._ENTRY,
            per_class(self._context.category_ids, rows),
            *box_columns(rows),
            number_texts(rows.scores),
            *corner_columns(rows),
        )
        names = rows.records["file_name"].to_pylist()
        errors = rows.results["error"].to_pylist()
        failures = ["" if error is None else f', "error": {json.dumps(error)}' for error in errors]
        lines = fill_template(
            self._LINE,
            rows.records["image_id"].combine_chunks(),
            text_column([json.dumps(name) for name in names]),
            per_image(rows, entries, ", "),
            text_column(failures),
        )
        return functools.partial(self._stream.write, joined(lines))

    def close(self) -> None:
        """Do nothing: no line is left to write."""


class Csv(Writer):
    """One line per detection, after a header."""

    def __init__(self, stream: IO[bytes], context: OutputContext) -> None:
        self._stream = stream
        head = "image_id file_name category_id category score".split()
        head += box_names(context.rotated)
        self._line = ",".join(["%s"] * len(head)) + "\n"
        self._stream.write((self._line % tuple(head)).encode())
        self._category_ids = [_csv_field(json.loads(text)) for text in context.category_ids]
        self._category_names = [_csv_field(name) for name in context.category_names]

    def prepare(self, rows: MergedRows, before: int) -> Callable[[], object]:
        """Format one line per detection."""
        ids = [_csv_field(json.loads(text)) for text in rows.records["image_id"].to_pylist()]
        names = [_csv_field(name) for name in rows.records["file_name"].to_pylist()]
        lines = fill_template(
            self._line,
            per_detection(rows, text_column(ids)),
            per_detection(rows, text_column(names)),
            per_class(self._category_ids, rows),
            per_class(self._category_names, rows),
            number_texts(rows.scores),
            *box_columns(rows),
        )
        return functools.partial(self._stream.write, joined(lines))

    def close(self) -> None:
        """Do nothing: no line is left to write."""


def _csv_field(value: object) -> str:
    """Format a value as one of several in a line, in quotes where RFC 4180 asks for them.

    What Python's writer does differs: 3.10 refuses NUL, and none before 3.13 quotes a lone CR.
    """
    text = str(value)
    if any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


class ParquetTable(Writer):
    """One row per detection; ids are integers if all are, of 64 bits, otherwise text."""

    def __init__(self, stream: IO[bytes], context: OutputContext) -> None:
        category_ids = pa.array(context.category_ids, pa.string())
        self._context = context
        self._id_type = pa.int64() if context.integer_ids else pa.string()
        self._category_ids = id_column(context.category_ids, are_integers(category_ids))
        schema = pa.schema(
            [
                ("image_id", self._id_type),
                ("file_name", pa.string()),
                ("category_id", self._category_ids.type),
                ("category", pa.string()),
                ("score", pa.float32()),
                *((name, pa.float64()) for name in box_names(context.rotated)),
            ]
        )
        self._writer = pq.ParquetWriter(stream, schema, compression="zstd")

    def prepare(self, rows: MergedRows, before: int) -> Callable[[], object]:
        """Make one row per detection."""
        owner = pa.array(rows.owners)
        image_ids = id_column(rows.records["image_id"].to_pylist(), self._context.integer_ids)
        columns = [
            image_ids.take(owner),
            rows.records["file_name"].cast(pa.string()).combine_chunks().take(owner),
            self._category_ids.take(rows.classes),
            pa.array(list(self._context.category_names), pa.string()).take(rows.classes),
            pa.array(rows.scores, pa.float32()),
            *(pa.array(column) for column in rows.bbox.T),
        ]
        table = pa.Table.from_arrays(columns, schema=self._writer.schema)
        return functools.partial(self._writer.write_table, table)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()

    def give_up(self) -> None:
        """Close the file now; otherwise the writer complains when it is collected."""
        with contextlib.suppress(OSError):
            self._writer.close()


_FORMATS: dict[str, Callable[[IO[bytes], OutputContext], Writer]] = {
    ".results.json": CocoResults,
    ".json": OdtkJson,
    ".jsonl": JsonLines,
    ".csv": Csv,
    ".parquet": ParquetTable,
}
FORMATS = tuple(_FORMATS)


def make_writer(path: str, stream: IO[bytes], context: OutputContext) -> Writer:
    """Make the writer of the format that a file's name ends in."""
    return next(kind for end, kind in _FORMATS.items() if path.endswith(end))(stream, context)
