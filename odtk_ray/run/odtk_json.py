"""ODTK's JSON of detections, with what other readers of COCO files need besides ODTK's keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from odtk_ray.run.output_columns import (
    box_columns,
    corner_columns,
    fill_template,
    indented,
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

    _HEAD = """
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

    def __init__(self, stream: IO[str], context: OutputContext) -> None:
        self._stream = stream
        self._context = context
        self._separator = '{\n    "annotations": ['
        self._count = 0
        self._sizes: list[NDArray[np.int32]] = []  # [m, 2], width and height: 8 bytes an image

    def write(self, rows: MergedRows) -> None:
        """Write one entry per detection, keys and numbers as ODTK's json.dump writes them."""
        sides = [rows.results[side].to_numpy() for side in ("width", "height")]
        self._sizes.append(np.column_stack(sides))
        first, self._count = self._count + 1, self._count + len(rows.scores)
        if not len(rows.scores):
            return
        turned = self._THETA + self._SEGMENTATION if rows.rotated else ""
        entries = fill_template(
            self._HEAD + turned + self._TAIL,
            ",",
            per_detection(rows, rows.records["image_id"]),
            number_texts(rows.scores),
            per_class(self._context.category_ids, rows.classes),
            *box_columns(rows),
            *corner_columns(rows),
            list(map(str, range(first, self._count + 1))),
            number_texts(rows.bbox[:, 2] * rows.bbox[:, 3]),
        )
        self._stream.write(self._separator + entries)
        self._separator = ","

    def close(self, records: Iterator[str]) -> None:
        """Write the `images` as they were read, with their sizes, then `categories`, if any."""
        if not self._count:
            self._stream.write(self._separator)
        self._stream.write("\n    ],\n" if self._count else "],\n")
        self._stream.write('    "images": [')
        separator = "\n"
        sizes = (size for some in self._sizes for size in some.tolist())
        for entry, (width, height) in zip(records, sizes, strict=True):
            sized = {"width": width, "height": height}
            known = json.loads(entry)
            self._stream.write(separator + indented(known | (sized | known)))
            separator = ",\n"
        self._stream.write("\n    ]")
        if self._context.categories is not None:
            text = json.dumps(self._context.categories, indent=4).replace("\n", "\n    ")
            self._stream.write(f',\n    "categories": {text}')
        self._stream.write("\n}")
