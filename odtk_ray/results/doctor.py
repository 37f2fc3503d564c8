"""What is wrong with an annotation file, said before a training or a run depends on it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from odtk_ray.data import storage
from odtk_ray.data.jsonstream import JsonError, scan
from odtk_ray.data.rotated import corners
from odtk_ray.errors import UsageError
from odtk_ray.results.overlap import PolygonOverlap
from odtk_ray.results.polygons import is_nested, read_rings
from odtk_ray.results.truth import GroundTruthBuilder, read_box

_SAMPLES = 6
# IoU of a box and its outline. Sides counted from corner to corner are a pixel shorter, and an
# outline that is no rectangle fills only a part of its box.
_ALIKE, _CLEAR = 0.5, 0.1

# What an annotation can be found guilty of; the first list makes the file unusable as it is.
_WRONG = (
    "image_id is of no image of the file",
    "category_id is of no category of the file",
    "bbox is not 4 or 5 finite numbers, or has a negative side",
    "box lies outside of its image",
    "box has a side of less than a pixel",
    "theta is beyond 2 pi: it is in radians",
    "segmentation has no area: its corners are on a line, or its edges cross",
    "segmentation is turned the other way: theta is positive clockwise, it goes anti-clockwise",
    "segmentation is not the box turned by theta",
)
_ODD = (
    "bbox has no theta: 0 is taken",
    "no segmentation of polygons: the corners of the box count",
    "segmentation of points instead of numbers: read as polygons",
    "no area: width * height counts",
    "bbox of five numbers: give --rotated-bbox",
)


@dataclass
class Finding:
    """One kind of problem.

    Attributes:
        text: what is the matter with them.
        wrong: whether they should be mended; otherwise it is only good to know.
        count: number of annotations.
        first: id of the first of them, as the file has it.
    """

    text: str
    wrong: bool
    count: int = 0
    first: object = None

    def __str__(self) -> str:
        number = f"{self.count:,} annotation{'s' * (self.count != 1)}"
        return f"{self.text}: {number}, the first has id {self.first}"


@dataclass
class Report:
    """What a file holds and what is wrong with it.

    Attributes:
        images: entries of `images` by id.
        categories: name by id.
        annotations: how many there are.
        turned: how many have a theta that is not 0.
        findings: problems that were met, the worst first.
        samples: some annotations, chosen at random, angles that show their sign first.
    """

    images: dict[Any, Mapping[str, Any]]
    categories: dict[Any, str]
    annotations: int = 0
    turned: int = 0
    findings: list[Finding] = field(default_factory=list)
    samples: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.wrong for finding in self.findings)


def examine(path: str, *, rotated: bool) -> Report:
    """Check a COCO file, entry by entry, without keeping the annotations.

    Args:
        path: the file.
        rotated: whether its boxes are rotated.

    Raises:
        UsageError: it cannot be read, or it is no COCO file.
    """
    tables: dict[str, list[Any]] = {"images": [], "categories": []}
    try:
        with storage.open_input(path) as stream:
            for chunk in scan(stream, tuple(tables)):
                tables[chunk.key] += [item for item in chunk.items if isinstance(item, dict)]
        report = Report(
            {_key(entry): entry for entry in tables["images"]},
            {_key(entry): str(entry.get("name", "")) for entry in tables["categories"]},
        )
        _check_tables(path, tables, report)
        with storage.open_input(path) as stream:
            for chunk in scan(stream, ("annotations",)):
                _examine(report, (i for i in chunk.items if isinstance(i, dict)), rotated)
    except JsonError as error:
        raise UsageError(f"{path} is no usable COCO annotation file", str(error)) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}", error.strerror or str(error)) from error
    order = [*_WRONG, *_ODD]
    report.findings.sort(key=lambda finding: order.index(finding.text))
    return report


def _key(entry: Mapping[str, Any], name: str = "id") -> Any:
    value = entry.get(name)
    return value if isinstance(value, int | str) else None


def _check_tables(path: str, tables: Mapping[str, list[Any]], report: Report) -> None:
    for name, known in (("images", report.images), ("categories", report.categories)):
        if not tables[name]:
            raise UsageError(f"{path} is no usable COCO annotation file", f"it has no `{name}`")
        if len(known) < len(tables[name]) or None in known:
            raise UsageError(
                f"{path} is no usable COCO annotation file",
                f"ids of `{name}` repeat or are missing",
            )


def _examine(report: Report, annotations: Iterator[Mapping[str, Any]], rotated: bool) -> None:
    known = {finding.text: finding for finding in report.findings}
    chance = random.Random(report.annotations)  # noqa: S311 - of samples
    for entry in annotations:
        report.annotations += 1
        for text in _problems(report, entry, rotated):
            if text not in known:
                known[text] = Finding(text, text in _WRONG, first=entry.get("id"))
                report.findings.append(known[text])
            known[text].count += 1
        box = read_box(entry.get("bbox"))
        if box is not None and _key(entry, "image_id") in report.images:
            report.turned += box[4] != 0
            _sample(report, entry, chance)


def _sample(report: Report, entry: Mapping[str, Any], chance: random.Random) -> None:
    """Reservoir of entries, in which angles near a multiple of 90 degrees give way to others."""
    telling = _telling(entry)
    dull = next((n for n, other in enumerate(report.samples) if not _telling(other)), None)
    if len(report.samples) < _SAMPLES:
        report.samples.append(entry)
    elif telling and dull is not None:
        report.samples[dull] = entry
    elif telling == (dull is None):
        slot = chance.randrange(report.annotations)
        if slot < _SAMPLES:
            report.samples[slot] = entry


def _telling(entry: Mapping[str, Any]) -> bool:
    box = read_box(entry.get("bbox"))
    return box is not None and min(box[2:4]) > 8 and abs(math.sin(2 * box[4])) > 0.3


def _problems(report: Report, entry: Mapping[str, Any], rotated: bool) -> Iterator[str]:
    image = report.images.get(_key(entry, "image_id"))
    if image is None:
        yield _WRONG[0]
    if _key(entry, "category_id") not in report.categories:
        yield _WRONG[1]
    given = entry.get("bbox")
    five = isinstance(given, list) and len(given) == 5
    box = read_box(given) if rotated or not five else None
    if five and not rotated:
        yield _ODD[4]
    elif box is None:
        yield _WRONG[2]
    else:
        if image is not None and _outside(box, image):
            yield _WRONG[3]
        if min(box[2:4]) < 1:
            yield _WRONG[4]
        if rotated:
            yield from _turn_problems(entry, box, five)
    area = entry.get("area")
    if isinstance(area, bool) or not isinstance(area, int | float) or not math.isfinite(area):
        yield _ODD[3]


def _outside(box: list[float], image: Mapping[str, Any]) -> bool:
    """Whether a box and its image have no point in common, as far as the image's size is known."""
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int) or not isinstance(height, int):
        return False
    x, y = corners(np.array([box]))[0].T
    return bool(x.max() < 0 or y.max() < 0 or x.min() >= width or y.min() >= height)


def _turn_problems(entry: Mapping[str, Any], box: list[float], five: bool) -> Iterator[str]:
    segmentation = entry.get("segmentation")
    rings = read_rings(segmentation)
    if not five:
        yield _ODD[0]
    if abs(box[4]) > 2 * math.pi:
        yield _WRONG[5]
    if rings is None:
        yield _ODD[1]
        return
    if is_nested(segmentation):
        yield _ODD[2]
    builder = GroundTruthBuilder({"0": 0}, {"0": 0}, rotated=True)
    builder.add([{**entry, "image_id": 0, "category_id": 0}])
    truth = builder.build()
    ways = np.array([box, [*box[:4], -box[4]]])
    iou = PolygonOverlap(truth).pairs(ways, np.zeros(2, np.int64), np.zeros(1, np.int64))
    same, mirrored = iou(np.arange(2), np.zeros(2, np.int64))
    if truth.polygons is not None and truth.polygons.edges().area[0] < 0.5:
        yield _WRONG[6]
    elif mirrored > max(same + _CLEAR, _ALIKE):
        yield _WRONG[7]
    elif same < _ALIKE:
        yield _WRONG[8]
