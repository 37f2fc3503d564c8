"""Boxes by image, for formats that keep the objects of an image together."""

from __future__ import annotations

import itertools
import json
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.annotation_paths import is_file_name
from odtk_ray.datasets.coco_content import Content
from odtk_ray.datasets.ground_truth import read_number
from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.rotated_boxes import Floats, corners
from odtk_ray.errors import UsageError


@dataclass(frozen=True)
class ImageBoxes:
    """The boxes in an image.

    Attributes:
        image: COCO's `images` entry, with a usable `file_name`.
        boxes: float64 [n, 5], in ODTK's convention.
        labels: name of the class of each.
        scores: of each; NaN where it has none.
    """

    image: dict[str, Any]
    boxes: Floats
    labels: Sequence[str]
    scores: Floats

    @property
    def name(self) -> str:
        """The image's `file_name`."""
        return str(self.image["file_name"])

    def size(self) -> tuple[int, int]:
        """Return width and height in pixels.

        Raises:
            UsageError: the entry has none.
        """
        sides = [read_number(self.image.get(side)) for side in ("width", "height")]
        if not all(sides):
            raise UsageError(
                f"image {self.name} has no width and height",
                "the target needs them",
                "take the detections.json of a newer infer, which has the sizes of all images",
            )
        return int(sides[0] or 0), int(sides[1] or 0)


def outlines(boxes: Floats) -> Floats:
    """Compute the corners of boxes in continuous coordinates, where pixel (0, 0) ends at (1, 1).

    There a box covers all of its pixels: w and h, which count both end pixels, are its sides, and
    it turns about the same centre. ODTK's `segmentation` joins centres of pixels instead.

    Args:
        boxes: float64 [n, 5], (x, y, w, h, theta).

    Returns:
        float64 [n, 4, 2], the top left, bottom left, bottom right and top right corners, turned.
    """
    return corners(boxes + np.array([0, 0, 1, 1, 0]))


class BoxReader:
    """Reads annotations of a file as boxes.

    Args:
        content: of the file.

    Attributes:
        names: of the classes.

    Raises:
        UsageError: an image has no usable `file_name`, or there are two of one id.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._rows: dict[str, int] = {}
        for row, image in enumerate(content.images):
            if not is_file_name(image.get("file_name")):
                raise UsageError(f"image {image.get('id')} has no usable file_name")
            if self._rows.setdefault(id_text(image.get("id")), row) != row:
                raise UsageError(f"two images have the id {image.get('id')}")
        self.names = [str(c.get("name", f"class {c.get('id')}")) for c in content.categories]
        self._classes = {id_text(c.get("id")): i for i, c in enumerate(content.categories)}

    def by_image(self) -> Iterator[ImageBoxes]:
        """Yield the boxes of every image, in the order of `images`: 64 bytes a box in memory."""
        rows, classes, values = array("q"), array("q"), array("d")
        for row, label, box, score in self._all():
            rows.append(row)
            classes.append(label)
            values.extend((*box, score))
        table = np.asarray(values).reshape(-1, 6)
        order = np.argsort(np.asarray(rows, np.int64), kind="stable")
        ends = np.searchsorted(np.asarray(rows)[order], np.arange(len(self._content.images) + 1))
        labels = np.asarray(classes, np.int64)
        for row, (start, stop) in enumerate(itertools.pairwise(ends.tolist())):
            some = order[start:stop]
            yield self._boxes(row, labels[some], table[some])

    def in_file_order(self) -> Iterator[ImageBoxes]:
        """Yield boxes as they come; those of an image together where they follow each other."""
        for row, group in itertools.groupby(self._all(), key=lambda found: found[0]):
            rows = list(group)
            table = np.array([(*box, score) for _, _, box, score in rows])
            yield self._boxes(row, np.array([label for _, label, _, _ in rows]), table)

    def _boxes(self, row: int, labels: NDArray[np.int64], table: Floats) -> ImageBoxes:
        names = [self.names[label] for label in labels.tolist()]
        return ImageBoxes(self._content.images[row], table[:, :5], names, table[:, 5])

    def _all(self) -> Iterator[tuple[int, int, list[float], float]]:
        """Yield each annotation's image and category, by their places in the file, box, score."""
        for entry in self._content.annotations:
            row = self._rows.get(id_text(entry.get("image_id")))
            label = self._classes.get(id_text(entry.get("category_id")))
            if row is None or label is None:
                kind = "image" if row is None else "category"
                raise UsageError(f"annotation {entry.get('id')} belongs to no {kind} of the file")
            score = math.nan
            if "score" in entry:
                given = read_number(entry["score"])
                if given is None:
                    text = json.dumps(entry["score"])[:80]
                    raise UsageError(f"annotation {entry.get('id')} has no usable score", text)
                score = given
            yield row, label, entry["bbox"], score
