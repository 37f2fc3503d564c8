"""Ground truth as columns: only what an evaluation needs of a COCO file's annotations."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.polygons import (
    FAR,
    FARTHEST,
    Polygons,
    PolygonsBuilder,
    is_nested,
    read_rings,
)
from odtk_ray.datasets.problems import Findings, Problem, shown
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.datasets.truth_remarks import WholeFile, category_problem, image_problem


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
    """The ground truth boxes, sorted by image; in file order within one image.

    Attributes:
        image: int64 [n], record index.
        category: int32 [n], position in the file's `categories` list.
        bbox: float64 [n, 4], xywh, pixels of the original image.
        area: float64 [n], square pixels; of the object, not of its box, where the file has it.
        crowd: bool [n], regions where any number of detections is right.
        polygons: the outlines; None where axis-aligned boxes are to be found.

    Raises:
        ValueError: the columns' shapes disagree, or the rows are not sorted by image.
    """

    image: NDArray[np.int64]
    category: NDArray[np.int32]
    bbox: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    polygons: Polygons | None = None

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
    """Collects annotations as they are read, 53 bytes each, and reports unusable ones.

    As in pycocotools, `iscrowd` alone says what is ignored: an annotation's own `ignore` has no
    effect. Unlike pycocotools, annotations need no `id`, and one whose id is 0 counts as any other.

    Args:
        image_index: JSON text of an image id (`17` or `"a17"`) to record index.
        category_index: JSON text of a category id to its position in `categories`.
        rotated: whether outlines are collected: the `segmentation`, or else the corners of `bbox`,
            which may have theta as a fifth number. 90 bytes more for four corners.

        others: JSON texts of ids of images that are not evaluated, though they are in the file.

    Attributes:
        findings: what was left out or replaced, and what is probably wrong.
    """

    def __init__(
        self,
        image_index: Mapping[str, int],
        category_index: Mapping[str, int],
        rotated: bool = False,
        others: Collection[str] = frozenset(),
    ) -> None:
        self._polygons = PolygonsBuilder() if rotated else None
        self._image_index, self._category_index = image_index, category_index
        self._others = others
        self._image, self._category, self._crowd = array("q"), array("i"), array("B")
        self._bbox, self._area = array("d"), array("d")
        self._whole_file = WholeFile()
        self.findings = Findings()

    def add(self, annotations: Iterable[Any]) -> None:
        """Add parsed entries of the file's `annotations` list, in file order."""
        for annotation in annotations:
            if not isinstance(annotation, dict):
                first = f"is {shown(annotation)} in `annotations`"
                self.findings.add(Problem.NO_OBJECT, first)
                continue
            image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
            image = self._image_index.get(id_text(image_id))
            category = self._category_index.get(id_text(category_id))
            if image is None:
                if id_text(image_id) not in self._others:
                    problem = image_problem(image_id, self._image_index)
                    self.findings.add_annotation(problem, annotation)
            elif category is None:
                problem = category_problem(category_id, self._category_index)
                self.findings.add_annotation(problem, annotation)
            else:
                self._add(image, category, annotation)

    def _add(self, image: int, category: int, annotation: Mapping[str, Any]) -> None:
        bbox = self._rotated(annotation) if self._polygons else self._upright(annotation)
        if bbox is None:
            return
        area = read_number(annotation.get("area"))
        if area is None:
            self.findings.add_annotation(Problem.AREA, annotation)
            area = bbox[2] * bbox[3]
        self._image.append(image)
        self._category.append(category)
        self._bbox.extend(bbox)
        self._area.append(area)
        self._crowd.append(bool(annotation.get("iscrowd")))

    def _upright(self, annotation: Mapping[str, Any]) -> list[float] | None:
        given = annotation.get("bbox")
        bbox = read_box(given)
        if bbox is None or has_theta(given):
            problem = Problem.BOX if bbox is None else Problem.FIVE
            self.findings.add_annotation(problem, annotation)
            return None
        self._whole_file.add(annotation, bbox[:4])
        return bbox[:4]

    def _rotated(self, annotation: Mapping[str, Any]) -> list[float] | None:
        """Collect an outline; return the un-rotated box, or the one that encloses the outline."""
        given, segmentation = annotation.get("bbox"), annotation.get("segmentation")
        bbox, rings = read_box(given), read_rings(segmentation)
        if rings is None and bbox is None:
            self.findings.add_annotation(Problem.BOX, annotation)
            return None
        outline = rings or [corners(np.array([bbox])).ravel().tolist()]
        if is_far(outline):
            self.findings.add_annotation(Problem.FAR, annotation)
            return None
        if rings is None:
            self.findings.add_annotation(Problem.NO_OUTLINE, annotation)
            if not has_theta(given):
                self.findings.add_annotation(Problem.NO_THETA, annotation)
        elif is_nested(segmentation):
            self.findings.add_annotation(Problem.POINTS, annotation)
        self._whole_file.add(annotation, bbox[:4] if bbox else outline[0])
        if self._polygons is not None:
            self._polygons.add(outline)
        return bbox[:4] if bbox else enclosing(outline)

    def build(self) -> GroundTruth:
        """Build the ground truth; it takes over the memory, so this is the last call."""
        self._whole_file.report(self.findings)
        columns: dict[str, NDArray[Any]] = {
            "image": np.asarray(self._image),
            "category": np.asarray(self._category),
            "bbox": np.asarray(self._bbox).reshape(-1, 4),
            "area": np.asarray(self._area),
            "crowd": np.asarray(self._crowd).view(np.bool_),
        }
        order = np.argsort(columns["image"], kind="stable")
        # In place and one number a row at a time: half the peak memory.
        for column in columns.values():
            for part in column.T if column.ndim == 2 else [column]:
                part[:] = part[order]
        polygons = self._polygons.build(order) if self._polygons else None
        return GroundTruth(**columns, polygons=polygons)


def image_ranks(image_ids: Sequence[str]) -> NDArray[np.int64]:
    """Return each image's position when the ids are sorted, as pycocotools visits them.

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


def read_box(value: object) -> list[float] | None:
    """Return a `bbox` of four or five numbers as (x, y, w, h, theta); None if it is invalid.

    Numbers must be finite, less than `FARTHEST` as in `read_rings`, and sides not negative.
    """
    if not isinstance(value, list) or len(value) not in (4, 5):
        return None
    numbers = [number for item in value if (number := read_number(item)) is not None]
    if len(numbers) != len(value) or max(map(abs, numbers)) >= FARTHEST or min(numbers[2:4]) < 0:
        return None
    return [*numbers, 0.0][:5]


def has_theta(bbox: object) -> bool:
    """Return whether a `bbox` has a fifth number."""
    return isinstance(bbox, list) and len(bbox) == 5


def enclosing(rings: Sequence[Sequence[float]]) -> list[float]:
    """Return the (x, y, w, h) around an outline, both end pixels counted."""
    x, y = (sorted(v for ring in rings for v in ring[start::2]) for start in (0, 1))
    return [x[0], y[0], x[-1] - x[0] + 1, y[-1] - y[0] + 1]


def is_far(rings: Sequence[Sequence[float]]) -> bool:
    """Return whether a corner lies further out than `FAR`, where no picture is."""
    return any(abs(value) > FAR for ring in rings for value in ring)


def read_number(value: object) -> float | None:
    """Return a finite JSON number; None for other values, true and false included."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond float64
        return None
