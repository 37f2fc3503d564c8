"""Ground truth as columns: what an evaluation needs of a COCO file's annotations, and no more."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Category:
    """One entry of a COCO file's `categories` list.

    Attributes:
        id: as the file has it.
        name: shown in tables.
    """

    id: int | str
    name: str


@dataclass(frozen=True)
class GroundTruth:
    """The boxes to be found, sorted by image; in file order inside one image.

    Attributes:
        image: int64 [n], record index.
        category: int32 [n], position in the file's `categories` list.
        bbox: float64 [n, 4], xywh, pixels of the original image.
        area: float64 [n], square pixels; of the object, not of its box, where the file has it.
        crowd: bool [n], regions where any number of detections is right.

    Raises:
        ValueError: the columns' shapes disagree, or the rows are not sorted by image.
    """

    image: NDArray[np.int64]
    category: NDArray[np.int32]
    bbox: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = len(self.image)
        shapes = [self.category.shape, self.area.shape, self.crowd.shape]
        if self.bbox.shape != (n, 4) or shapes != [(n,)] * 3:
            raise ValueError(f"ground truth of {n} rows: bbox {self.bbox.shape}, others {shapes}")
        if np.any(self.image[1:] < self.image[:-1]):
            raise ValueError("ground truth is not sorted by image")

    def __len__(self) -> int:
        return len(self.image)


class GroundTruthBuilder:
    """Collects annotations as they are read, 53 bytes each, and counts what it cannot use.

    As in pycocotools, `iscrowd` alone says what is ignored: an annotation's own `ignore` has no
    effect. Unlike pycocotools, annotations need no `id`, and one whose id is 0 counts as any other.

    Args:
        image_index: JSON text of an image id (`17` or `"a17"`) to record index.
        category_index: JSON text of a category id to its position in `categories`.

    Attributes:
        unknown_images: annotations left out because their image is not in `image_index`.
        unknown_categories: annotations left out because their category is not in `category_index`.
        malformed_boxes: annotations left out because `bbox` is not four finite numbers, or has a
            negative width or height.
        first_malformed: JSON text of the id of the first of these; None when there is none.
        missing_areas: annotations without a finite `area`, for which width * height is taken.
    """

    def __init__(self, image_index: Mapping[str, int], category_index: Mapping[str, int]) -> None:
        self._image_index, self._category_index = image_index, category_index
        self._image, self._category, self._crowd = array("q"), array("i"), array("B")
        self._bbox, self._area = array("d"), array("d")
        self.unknown_images = 0
        self.unknown_categories = 0
        self.malformed_boxes = 0
        self.first_malformed: str | None = None
        self.missing_areas = 0

    def add(self, annotations: Iterable[Mapping[str, Any]]) -> None:
        """Takes parsed entries of the file's `annotations` list, in file order."""
        for annotation in annotations:
            image = self._image_index.get(_key(annotation.get("image_id")))
            category = self._category_index.get(_key(annotation.get("category_id")))
            if image is None:
                self.unknown_images += 1
            elif category is None:
                self.unknown_categories += 1
            else:
                self._add(image, category, annotation)

    def _add(self, image: int, category: int, annotation: Mapping[str, Any]) -> None:
        bbox = _xywh(annotation.get("bbox"))
        if bbox is None:
            self.malformed_boxes += 1
            if self.first_malformed is None:
                self.first_malformed = _key(annotation.get("id"))
            return
        area = _number(annotation.get("area"))
        if area is None:
            self.missing_areas += 1
            area = bbox[2] * bbox[3]
        self._image.append(image)
        self._category.append(category)
        self._bbox.extend(bbox)
        self._area.append(area)
        self._crowd.append(bool(annotation.get("iscrowd")))

    def build(self) -> GroundTruth:
        """The ground truth; it takes over the builder's memory, so this is the last call."""
        columns: list[NDArray[Any]] = [
            np.asarray(self._image),
            np.asarray(self._category),
            np.asarray(self._bbox).reshape(-1, 4),
            np.asarray(self._area),
            np.asarray(self._crowd).view(np.bool_),
        ]
        order = np.argsort(columns[0], kind="stable")
        for column in columns:  # in place and one number a row at a time: half the peak memory
            for part in column.T if column.ndim == 2 else [column]:
                part[:] = part[order]
        return GroundTruth(*columns)


def image_ranks(image_ids: Sequence[str]) -> NDArray[np.int64]:
    """Position of every image when the ids are sorted, as pycocotools visits them.

    Args:
        image_ids: JSON texts of the ids, in record order; numbers sort before strings.

    Returns:
        int64 [n], a permutation of 0..n-1.
    """
    ids = [json.loads(text) for text in image_ids]
    order = sorted(range(len(ids)), key=lambda i: (isinstance(ids[i], str), ids[i]))
    ranks = np.empty(len(ids), np.int64)
    ranks[order] = np.arange(len(ids))
    return ranks


def _key(value: object) -> str:
    return str(value) if type(value) is int else json.dumps(value)


def _xywh(value: object) -> list[float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    numbers = [number for item in value if (number := _number(item)) is not None]
    return numbers if len(numbers) == 4 and numbers[2] >= 0 and numbers[3] >= 0 else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond float64
        return None
