"""Output formats, one writer each, chosen by the file's name."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
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
    number_texts,
    per_class,
    per_detection,
)
from odtk_ray.run.output_writer import OutputContext, Writer
from odtk_ray.shards.merge import MergedRows


class CocoResults(Writer):
    """The plain list that pycocotools' `loadRes` takes, one detection a line."""

    _LINE = '{"image_id": %s, "category_id": %s, "bbox": [%s, %s, %s, %s], "score": %s}'
    _ROTATED = (
        '{"image_id": %s, "category_id": %s, "bbox": [%s, %s, %s, %s, %s], "score": %s, '
        '"segmentation": [[%s, %s, %s, %s, %s, %s, %s, %s]]}'
    )

    def __init__(self, stream: IO[str], context: OutputContext) -> None:
        self._stream = stream
        self._context = context
        self._separator = "[\n"

    def write(self, rows: MergedRows) -> None:
        """Write one line per detection."""
        ids = per_detection(rows, rows.records["image_id"])
        categories = per_class(self._context.category_ids, rows.classes)
        scores = number_texts(rows.scores)
        template = self._ROTATED if rows.rotated else self._LINE
        columns = ids, categories, *box_columns(rows), scores, *corner_columns(rows)
        lines = fill_template(template, ",\n", *columns)
        if lines:
            self._stream.write(self._separator + lines)
            self._separator = ",\n"

    def close(self, records: Iterator[str]) -> None:
        """End the list."""
        self._stream.write("[]\n" if self._separator == "[\n" else "\n]\n")


class JsonLines(Writer):
    """One line an image, also for images without detections and for failed ones."""

    _ENTRY = '{"category_id": %s, "bbox": [%s, %s, %s, %s], "score": %s}'
    _ROTATED = (
        '{"category_id": %s, "bbox": [%s, %s, %s, %s, %s], "score": %s, '
        '"segmentation": [[%s, %s, %s, %s, %s, %s, %s, %s]]}'
    )

    def __init__(self, stream: IO[str], context: OutputContext) -> None:
        self._stream = stream
        self._context = context

    def write(self, rows: MergedRows) -> None:
        """Write lines with `image_id`, `file_name`, `detections`, and `error` of a failed image."""
        categories = per_class(self._context.category_ids, rows.classes)
        template = self._ROTATED if rows.rotated else self._ENTRY
        columns = categories, *box_columns(rows), number_texts(rows.scores), *corner_columns(rows)
        entries = fill_template(template, "\n", *columns)
        found = entries.split("\n")
        offsets = rows.offsets.tolist()
        images = zip(
            rows.records["image_id"].to_pylist(),
            rows.records["file_name"].to_pylist(),
            rows.results["error"].to_pylist(),
            strict=True,
        )
        for i, (image_id, name, error) in enumerate(images):
            inside = ", ".join(found[offsets[i] : offsets[i + 1]])
            failure = "" if error is None else f', "error": {json.dumps(error)}'
            self._stream.write(
                f'{{"image_id": {image_id}, "file_name": {json.dumps(name)}, '
                f'"detections": [{inside}]{failure}}}\n'
            )

    def close(self, records: Iterator[str]) -> None:
        """Do nothing: no line is left to write."""


class Csv(Writer):
    """One line per detection, after a header."""

    def __init__(self, stream: IO[str], context: OutputContext) -> None:
        self._csv = csv.writer(stream, lineterminator="\n")
        self._context = context
        head = "image_id file_name category_id category score".split()
        self._csv.writerow([*head, *box_names(context.rotated)])

    def write(self, rows: MergedRows) -> None:
        """Write one line per detection."""
        plain_ids = [json.loads(text) for text in rows.records["image_id"].to_pylist()]
        plain_categories = [json.loads(text) for text in self._context.category_ids]
        self._csv.writerows(
            zip(
                per_detection(rows, plain_ids),
                per_detection(rows, rows.records["file_name"]),
                per_class(plain_categories, rows.classes),
                per_class(self._context.category_names, rows.classes),
                number_texts(rows.scores),
                *box_columns(rows),
                strict=True,
            )
        )

    def close(self, records: Iterator[str]) -> None:
        """Do nothing: no line is left to write."""


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

    def write(self, rows: MergedRows) -> None:
        """Write one row per detection."""
        owner = np.repeat(np.arange(len(rows.records)), np.diff(rows.offsets))
        image_ids = id_column(rows.records["image_id"].to_pylist(), self._context.integer_ids)
        columns = [
            image_ids.take(owner),
            rows.records["file_name"].cast(pa.string()).combine_chunks().take(owner),
            self._category_ids.take(rows.classes),
            pa.array(list(self._context.category_names), pa.string()).take(rows.classes),
            pa.array(rows.scores, pa.float32()),
            *(pa.array(column) for column in rows.bbox.T),
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._writer.schema))

    def close(self, records: Iterator[str]) -> None:
        """Write the footer."""
        self._writer.close()

    def give_up(self) -> None:
        """Close the file now; otherwise the writer complains when it is collected."""
        with contextlib.suppress(OSError):
            self._writer.close()


_TEXT_FORMATS: dict[str, Callable[[IO[str], OutputContext], Writer]] = {
    ".results.json": CocoResults,
    ".json": OdtkJson,
    ".jsonl": JsonLines,
    ".csv": Csv,
}
FORMATS = (*_TEXT_FORMATS, ".parquet")


def make_writer(path: str, stream: IO[Any], context: OutputContext) -> Writer:
    """Make the writer of the format that a file's name ends in; Parquet needs a binary `stream`."""
    if path.endswith(".parquet"):
        return ParquetTable(stream, context)
    return next(kind for end, kind in _TEXT_FORMATS.items() if path.endswith(end))(stream, context)
