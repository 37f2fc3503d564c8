"""ODTK's JSON of detections, with what other readers of COCO files need besides ODTK's keys."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from odtk_ray.run.output_columns import (
    box_columns,
    corner_columns,
    fill_template,
    indented,
    joined,
    number_texts,
    per_class,
    per_detection,
)
from odtk_ray.run.output_writer import OutputContext, Writer
from odtk_ray.shards.merge import MergedRows


class OdtkJson(Writer):
    """ODTK's object: `annotations`, `images`, `categories`, in this order, indented by 4.

    Behind ODTK's keys an annotation has `id`, from 1, `area`, width times height as pycocotools'
    `loadRes` has it, and `iscrowd`. An image whose entry has no size gets that of its decoded
    picture, or 0 where it failed: readers of COCO files stop at images without one.
    """

    _START = '{\n    "annotations": ['
    _HEAD = """,
        {
            "image_id": %s,
            "score": %s,
            "category_id": %s,
            "bbox": [
                %s,
                %s,
                %s,
                %s"""
    _THETA = """,
                %s"""
    _SEGMENTATION = """
            ],
            "segmentation": [
                [
                    %s,
                    %s,
                    %s,
                    %s,
                    %s,
                    %s,
                    %s,
                    %s
                ]"""
    _TAIL = """
            ],
            "id": %s,
            "area": %s,
            "iscrowd": 0
        }"""

    def __init__(self, stream: IO[bytes], context: OutputContext) -> None:
        self._stream = stream
        self._context = context
        self._empty = True
        # `images` come last, and are too many to be held: in a file without a name beside this one,
        # which takes their room on the disk twice for a moment.
        self._images = tempfile.TemporaryFile(  # noqa: SIM115 - closed by close
            dir=os.path.dirname(stream.name)
        )

    def prepare(self, rows: MergedRows, before: int) -> Callable[[], None]:
        """Format one entry per detection, keys and numbers as ODTK's json.dump writes them."""
        turned = self._THETA + self._SEGMENTATION if rows.rotated else ""
        numbers = pa.array(range(before + 1, before + len(rows.scores) + 1), pa.int64())
        entries = fill_template(
            self._HEAD + turned + self._TAIL,
            per_detection(rows, rows.records["image_id"]),
            number_texts(rows.scores),
            per_class(self._context.category_ids, rows),
            *box_columns(rows),
            *corner_columns(rows),
            pc.cast(numbers, pa.large_string()),
            number_texts(rows.bbox[:, 2] * rows.bbox[:, 3]),
        )
        return functools.partial(self._add, joined(entries), _image_entries(rows).encode())

    def _add(self, text: memoryview, images: bytes) -> None:
        if self._empty and text:
            self._write(self._START)
            text, self._empty = text[1:], False  # without a comma
        self._stream.write(text)
        self._images.write(images)

    def _write(self, text: str) -> None:
        self._stream.write(text.encode())

    def close(self) -> None:
        """Write the `images` as they were read, with their sizes, then `categories`, if any."""
        if self._empty:
            self._write(self._START)
        self._write("],\n" if self._empty else "\n    ],\n")
        self._write('    "images": [')
        self._images.seek(1)  # without a comma
        shutil.copyfileobj(self._images, self._stream, 1 << 20)
        self._images.close()
        self._write("\n    ]")
        if self._context.categories is not None:
            text = json.dumps(self._context.categories, indent=4).replace("\n", "\n    ")
            self._write(f',\n    "categories": {text}')
        self._write("\n}")

    def give_up(self) -> None:
        """Delete the images."""
        with contextlib.suppress(OSError):  # a full disk
            self._images.close()


def _image_entries(rows: MergedRows) -> str:
    """Format the entries of the images, with a comma before each."""
    columns = rows.records["entry"], rows.results["width"], rows.results["height"]
    texts = []
    for entry, width, height in zip(*(column.to_pylist() for column in columns), strict=True):
        sized = {"width": width, "height": height}
        known = json.loads(entry)
        texts.append(indented(known | (sized | known)))
    return "".join(f",\n{text}" for text in texts)
