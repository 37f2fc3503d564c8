"""Output formats, one writer each, chosen by the file's name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from odtk_ray.results.merge import Merged


@dataclass(frozen=True)
class OutputContext:
    """What the formats need besides the rows.

    Attributes:
        category_ids: for each class index the JSON text of its category id.
        category_names: for each class index its name; empty where there is none.
        categories: the `categories` list for the output; None leaves it out.
        integer_ids: whether every image id is an integer.
    """

    category_ids: Sequence[str]
    category_names: Sequence[str]
    categories: list[dict[str, object]] | None
    integer_ids: bool


class Writer(Protocol):
    """Takes merged rows in record order."""

    def write(self, rows: Merged) -> None:
        """Add rows."""

    def close(self, records: Iterator[str]) -> None:
        """End the file; `records` gives the JSON text of every `images` entry once more."""


class OdtkJson:
    """ODTK's object: `annotations`, `images`, `categories`, in this order, indented by 4."""

    def __init__(self, stream: IO[str], context: OutputContext) -> None:
        self._stream = stream
        self._context = context
        self._separator = '{\n    "annotations": ['
        self._any = False

    def write(self, rows: Merged) -> None:
        """One entry a detection, keys and numbers as ODTK's json.dump writes them."""
        entries = []
        for image_id, _, score, category, (x, y, w, h) in _detections(rows):
            entries.append(
                f'\n        {{\n            "image_id": {image_id},\n'
                f'            "score": {score!r},\n'
                f'            "category_id": {self._context.category_ids[category]},\n'
                f'            "bbox": [\n                {x!r},\n                {y!r},\n'
                f"                {w!r},\n                {h!r}\n            ]\n        }}"
            )
        if entries:
            self._stream.write(self._separator + ",".join(entries))
            self._separator = ","
            self._any = True

    def close(self, records: Iterator[str]) -> None:
        """The `images` as they came, then `categories` where there are some."""
        if not self._any:
            self._stream.write(self._separator)
        self._stream.write("\n    ],\n" if self._any else "],\n")
        self._stream.write('    "images": [')
        separator = "\n"
        for entry in records:
            self._stream.write(separator + _indented(json.loads(entry), 8))
            separator = ",\n"
        self._stream.write("\n    ]")
        if self._context.categories is not None:
            text = json.dumps(self._context.categories, indent=4).replace("\n", "\n    ")
            self._stream.write(f',\n    "categories": {text}')
        self._stream.write("\n}")


class CocoResults:
    """The plain list that pycocotools' `loadRes` takes, one detection a line."""

    def __init__(self, stream: IO[str], context: OutputContext) -> None:
        self._stream = stream
        self._context = context
        self._separator = "[\n"

    def write(self, rows: Merged) -> None:
        """One line a detection."""
        ids = self._context.category_ids
        lines = [
            f'{{"image_id": {image_id}, "category_id": {ids[category]}, '
            f'"bbox": [{x!r}, {y!r}, {w!r}, {h!r}], "score": {score!r}}}'
            for image_id, _, score, category, (x, y, w, h) in _detections(rows)
        ]
        if lines:
            self._stream.write(self._separator + ",\n".join(lines))
            self._separator = ",\n"

    def close(self, records: Iterator[str]) -> None:
        """End the list."""
        self._stream.write("[]\n" if self._separator == "[\n" else "\n]\n")


class JsonLines:
    """One line an image, also for images without detections and for failed ones."""

    def __init__(self, stream: IO[str], context: OutputContext) -> None:
        self._stream = stream
        self._context = context

    def write(self, rows: Merged) -> None:
        """Lines with `image_id`, `file_name`, `detections`, and `error` for a failed image."""
        ids = self._context.category_ids
        scores, classes, boxes = rows.scores.tolist(), rows.classes.tolist(), rows.bbox.tolist()
        offsets = rows.offsets.tolist()
        images = zip(
            rows.records["image_id"].to_pylist(),
            rows.records["file_name"].to_pylist(),
            rows.results["error"].to_pylist(),
            strict=True,
        )
        for i, (image_id, name, error) in enumerate(images):
            found = ", ".join(
                f'{{"category_id": {ids[classes[k]]}, "bbox": {boxes[k]}, "score": {scores[k]!r}}}'
                for k in range(offsets[i], offsets[i + 1])
            )
            failure = "" if error is None else f', "error": {json.dumps(error)}'
            self._stream.write(
                f'{{"image_id": {image_id}, "file_name": {json.dumps(name)}, '
                f'"detections": [{found}]{failure}}}\n'
            )

    def close(self, records: Iterator[str]) -> None:
        """Nothing is left to write."""


class Csv:
    """One line a detection, with a header."""

    def __init__(self, stream: IO[str], context: OutputContext) -> None:
        self._csv = csv.writer(stream, lineterminator="\n")
        self._context = context
        self._csv.writerow("image_id file_name category_id category score x y width height".split())

    def write(self, rows: Merged) -> None:
        """One line a detection."""
        ids = [_plain(text) for text in self._context.category_ids]
        names = self._context.category_names
        self._csv.writerows(
            (_plain(image_id), name, ids[category], names[category], repr(score), *map(repr, box))
            for image_id, name, score, category, box in _detections(rows)
        )

    def close(self, records: Iterator[str]) -> None:
        """Nothing is left to write."""


class ParquetTable:
    """One row a detection; ids are integers where all are, otherwise text."""

    def __init__(self, stream: IO[bytes], context: OutputContext) -> None:
        ids = [_plain(text) for text in context.category_ids]
        if any(isinstance(value, str) for value in ids):
            ids = [str(value) for value in ids]
        self._context = context
        self._id_type = pa.int64() if context.integer_ids else pa.string()
        self._category_ids = pa.array(ids) if ids else pa.array([], pa.int64())
        schema = pa.schema(
            [
                ("image_id", self._id_type),
                ("file_name", pa.string()),
                ("category_id", self._category_ids.type),
                ("category", pa.string()),
                ("score", pa.float32()),
                *((name, pa.float64()) for name in ("x", "y", "width", "height")),
            ]
        )
        self._writer = pq.ParquetWriter(stream, schema, compression="zstd")

    def write(self, rows: Merged) -> None:
        """One row a detection."""
        import numpy as np

        owner = np.repeat(np.arange(len(rows.records)), np.diff(rows.offsets))
        image_ids = [_plain(text) for text in rows.records["image_id"].to_pylist()]
        if pa.types.is_string(self._id_type):
            image_ids = [str(value) for value in image_ids]
        columns = [
            pa.array(image_ids, self._id_type).take(owner),
            rows.records["file_name"].combine_chunks().take(owner),
            self._category_ids.take(rows.classes),
            pa.array(list(self._context.category_names), pa.string()).take(rows.classes),
            pa.array(rows.scores, pa.float32()),
            *(pa.array(rows.bbox[:, i]) for i in range(4)),
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._writer.schema))

    def close(self, records: Iterator[str]) -> None:
        """Write the footer."""
        self._writer.close()


def _detections(rows: Merged) -> Iterator[tuple[str, str, float, int, list[float]]]:
    """(image id text, file name, score, class, xywh) of each detection."""
    counts = (rows.offsets[1:] - rows.offsets[:-1]).tolist()
    ids, names = rows.records["image_id"].to_pylist(), rows.records["file_name"].to_pylist()
    found = zip(rows.scores.tolist(), rows.classes.tolist(), rows.bbox.tolist(), strict=True)
    for image_id, name, count in zip(ids, names, counts, strict=True):
        for _ in range(count):
            yield (image_id, name, *next(found))


def _plain(text: str) -> Any:
    """An id from its JSON text."""
    return json.loads(text)


def _indented(value: object, spaces: int) -> str:
    margin = " " * spaces
    return margin + json.dumps(value, indent=4).replace("\n", "\n" + margin)


_TEXT_FORMATS: dict[str, Callable[[IO[str], OutputContext], Writer]] = {
    ".results.json": CocoResults,
    ".json": OdtkJson,
    ".jsonl": JsonLines,
    ".csv": Csv,
}
FORMATS = (*_TEXT_FORMATS, ".parquet")


def make_writer(path: str, stream: IO[Any], context: OutputContext) -> Writer:
    """The writer of the format that a file's name ends in; `stream` is binary for Parquet."""
    if path.endswith(".parquet"):
        return ParquetTable(stream, context)
    return next(kind for end, kind in _TEXT_FORMATS.items() if path.endswith(end))(stream, context)
