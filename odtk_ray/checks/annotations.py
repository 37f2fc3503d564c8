"""Checks an annotation file before a training or a run depends on it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from odtk_ray import storage
from odtk_ray.checks.image_files import examine_files
from odtk_ray.datasets.annotation_paths import (
    image_folder,
)
from odtk_ray.datasets.ground_truth import (
    GroundTruthBuilder,
    enclosing,
    has_theta,
    is_far,
    read_box,
    read_number,
)
from odtk_ray.datasets.ids import id_text, is_id
from odtk_ray.datasets.json_stream import JsonError, scan
from odtk_ray.datasets.polygons import is_nested, read_rings
from odtk_ray.datasets.problems import Findings, Problem, shown
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.datasets.truth_remarks import (
    WholeFile,
    add_names_that_repeat,
    category_problem,
    image_problem,
)
from odtk_ray.errors import UsageError
from odtk_ray.evaluation.overlap import PolygonOverlap

_SAMPLES = 6
_DRAWN = 5000  # pixels of a side: what lies around a larger box may not fit in memory
# IoU of a box and its outline. Sides counted from corner to corner are a pixel shorter, and an
# outline that is no rectangle fills only a part of its box.
_ALIKE, _CLEAR = 0.5, 0.1


@dataclass
class AnnotationReport:
    """The content of an annotation file, and the problems that were found in it.

    Attributes:
        images: entries of `images` by id.
        categories: name by id.
        lost: ids of the images that cannot be read.
        annotations: how many there are.
        turned: how many have a theta that is not 0.
        samples: some annotations, chosen at random, angles that show their sign first.
        findings: the problems that were found.
    """

    images: dict[Any, Mapping[str, Any]]
    categories: dict[Any, str]
    lost: set[Any] = field(default_factory=set)
    annotations: int = 0
    turned: int = 0
    samples: list[Mapping[str, Any]] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    @property
    def healthy(self) -> bool:
        """Whether no problem was found."""
        return not any(finding.problem.value.wrong for finding in self.findings)


def examine(path: str, images: str, *, rotated: bool) -> AnnotationReport:
    """Check a COCO file, entry by entry, without keeping the annotations.

    Args:
        path: the file.
        images: folder or URI that `file_name` is relative to.
        rotated: whether its boxes are rotated.

    Raises:
        UsageError: it cannot be read, or it is no COCO file.
    """
    tables: dict[str, list[Any]] = {"images": [], "categories": []}
    try:
        for key, items in _lists(path, tuple(tables)):
            tables[key] += items
        report = _tables(path, tables)
        report.lost = examine_files(report.images, image_folder(images), report.findings)
        whole_file = WholeFile()
        for _, items in _lists(path, ("annotations",)):
            _examine(report, items, whole_file, rotated)
        whole_file.report(report.findings)
    except JsonError as error:
        raise UsageError(f"{path} is not a usable COCO annotation file", str(error)) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
    return report


def _lists(path: str, keys: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
    with storage.open_input(path) as stream:
        for chunk in scan(stream, keys):
            if not chunk.is_array:
                why = f"its `{chunk.key}` is not a list"
                raise UsageError(f"{path} is not a usable COCO annotation file", why)
            yield chunk.key, chunk.items


def _key(entry: Mapping[str, Any], name: str = "id") -> str | None:
    """Return the text of an id, or None if it is invalid."""
    value = entry.get(name)
    return id_text(value) if is_id(value) else None


def _tables(path: str, tables: Mapping[str, list[Any]]) -> AnnotationReport:
    entries = {name: [e for e in rows if isinstance(e, dict)] for name, rows in tables.items()}
    report = AnnotationReport(
        {_key(entry): entry for entry in entries["images"]},
        {_key(entry): str(entry.get("name", "")) for entry in entries["categories"]},
    )
    for name, known in (("images", report.images), ("categories", report.categories)):
        if not entries[name]:
            raise UsageError(f"{path} is not a usable COCO annotation file", f"it has no `{name}`")
        if len(known) < len(entries[name]) or None in known:
            raise UsageError(
                f"{path} is not a usable COCO annotation file",
                f"ids of `{name}` repeat or are missing",
            )
        for row in tables[name]:
            if not isinstance(row, dict):
                report.findings.add(Problem.NO_OBJECT, f"is {shown(row)} in `{name}`")
    add_names_that_repeat(report.findings, entries["categories"])
    return report


def _examine(
    report: AnnotationReport, annotations: Sequence[Any], whole_file: WholeFile, rotated: bool
) -> None:
    chance = random.Random(report.annotations)  # noqa: S311 - of samples
    for entry in annotations:
        report.annotations += 1
        if not isinstance(entry, dict):
            report.findings.add(Problem.NO_OBJECT, f"is {shown(entry)} in `annotations`")
            continue
        for problem in _problems(report, entry, rotated):
            report.findings.add_annotation(problem, entry)
        box, image = read_box(entry.get("bbox")), _key(entry, "image_id")
        rings = read_rings(entry.get("segmentation")) if rotated else None
        known = image in report.images and _key(entry, "category_id") in report.categories
        if known and (box is not None or rings):
            whole_file.add(entry, box[:4] if box else (rings or [[]])[0])
        if box is not None and image in report.images:
            report.turned += box[4] != 0
            drawable = not is_far([box]) and max(box[2:4]) <= _DRAWN
            if drawable and image not in report.lost:
                _sample(report, entry, chance)


def _sample(report: AnnotationReport, entry: Mapping[str, Any], chance: random.Random) -> None:
    """Sample entries at random (reservoir); those near a multiple of 90 degrees are replaceable."""
    telling = _angle_visible(entry)
    dull = next((n for n, other in enumerate(report.samples) if not _angle_visible(other)), None)
    if len(report.samples) < _SAMPLES:
        report.samples.append(entry)
    elif telling and dull is not None:
        report.samples[dull] = entry
    elif telling == (dull is None):
        slot = chance.randrange(report.annotations)
        if slot < _SAMPLES:
            report.samples[slot] = entry


def _angle_visible(entry: Mapping[str, Any]) -> bool:
    box = read_box(entry.get("bbox"))
    return box is not None and min(box[2:4]) > 8 and abs(math.sin(2 * box[4])) > 0.3


def _problems(
    report: AnnotationReport, entry: Mapping[str, Any], rotated: bool
) -> Iterator[Problem]:
    image = report.images.get(_key(entry, "image_id"))
    if image is None:
        yield image_problem(entry.get("image_id"), report.images)
    if _key(entry, "category_id") not in report.categories:
        yield category_problem(entry.get("category_id"), report.categories)
    yield from (_rotated if rotated else _upright)(entry, image)
    if read_number(entry.get("area")) is None:
        yield Problem.AREA


def _upright(entry: Mapping[str, Any], image: Mapping[str, Any] | None) -> Iterator[Problem]:
    box = read_box(entry.get("bbox"))
    if box is None:
        yield Problem.BOX
    elif has_theta(entry["bbox"]):
        yield Problem.FIVE
    else:
        yield from _place([_ring(box)], box, image)


def _rotated(entry: Mapping[str, Any], image: Mapping[str, Any] | None) -> Iterator[Problem]:
    box, rings = read_box(entry.get("bbox")), read_rings(entry.get("segmentation"))
    yield from _forms(entry, box, rings)
    outline = rings if rings or box is None else [_ring(box)]
    if outline:
        yield from _place(outline, box, image)
    if box and abs(box[4]) > 2 * math.pi:
        yield Problem.DEGREES
    if rings and not is_far(rings):
        yield from _turn(entry, box)


def _forms(
    entry: Mapping[str, Any], box: list[float] | None, rings: list[list[float]] | None
) -> Iterator[Problem]:
    """Yield the values that an annotation of a rotated box lacks, or has in another form."""
    if entry.get("bbox") is None and rings:
        yield Problem.NO_BOX
    elif box is None:
        yield Problem.BOX
    elif not has_theta(entry["bbox"]):
        yield Problem.FLAT if rings else Problem.NO_THETA
    if rings and is_nested(entry.get("segmentation")):
        yield Problem.POINTS
    elif box and not rings:
        yield Problem.NO_OUTLINE


def _place(
    outline: Sequence[Sequence[float]], box: list[float] | None, image: Mapping[str, Any] | None
) -> Iterator[Problem]:
    if is_far(outline):
        yield Problem.FAR
    elif image is not None and _outside(outline, image):
        yield Problem.PLACE
    if box and min(box[2:4]) < 1:
        yield Problem.THIN


def _ring(box: list[float]) -> list[float]:
    ring: list[float] = corners(np.array([box])).ravel().tolist()
    return ring


def _outside(outline: Sequence[Sequence[float]], image: Mapping[str, Any]) -> bool:
    """Return whether an outline and its image are apart, as far as the image's size is known."""
    width, height = read_number(image.get("width")), read_number(image.get("height"))
    if not width or not height:
        return False
    x, y, w, h = enclosing(outline)
    return x + w < 1 or y + h < 1 or x >= width or y >= height


def _turn(entry: Mapping[str, Any], box: list[float] | None) -> Iterator[Problem]:
    """Yield the problems of an outline, and of the box that it should be, if that has an angle."""
    builder = GroundTruthBuilder({"0": 0}, {"0": 0}, rotated=True)
    builder.add([{**entry, "image_id": 0, "category_id": 0}])
    truth = builder.build()
    if truth.polygons is not None and truth.polygons.edges().area[0] < 0.5:
        yield Problem.NO_AREA
    elif box is not None and has_theta(entry["bbox"]):
        ways = np.array([box, [*box[:4], -box[4]]])
        iou = PolygonOverlap(truth).pairs(ways, np.zeros(2, np.int64), np.zeros(1, np.int64))
        same, mirrored = iou(np.arange(2), np.zeros(2, np.int64))
        if mirrored > max(same + _CLEAR, _ALIKE):
            yield Problem.MIRRORED
        elif same < _ALIKE:
            yield Problem.OTHER
