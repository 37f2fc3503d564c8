"""The kinds of problems in annotation files, said in the same words by `infer` and `doctor`."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from odtk_ray.datasets.polygons import FAR
from odtk_ray.plural import counted

_ALIKE = 'write both alike: "1" is not 1'
_OPENCV = "OpenCV's boxes become ODTK's with: odtk-ray convert FILE NEW.json --from opencv"


@dataclass(frozen=True)
class Kind:
    """The text about a kind of problem.

    Attributes:
        text: the problem.
        remedy: what to do about it; empty if the text says so.
        wrong: whether it should be corrected; otherwise it is only good to know.
        of: the things that are counted.
    """

    text: str
    remedy: str = ""
    wrong: bool = True
    of: str = "annotation"


class Problem(enum.Enum):
    """All kinds of problems, the worst first."""

    NO_OBJECT = Kind("entry is not an object", of="entry")
    NO_NAME = Kind(
        "image has no usable file_name", "give its path below the image folder", of="image"
    )
    OUTSIDE = Kind(
        "image leads out of the image folder", "--images must hold all images", of="image"
    )
    NO_FILE = Kind("image file is missing", "check --images", of="image")
    NO_PICTURE = Kind("image cannot be decoded", "replace the file", of="image")
    SIZE = Kind(
        "image has another size than the annotation file says",
        "boxes are in pixels: give the pictures that were annotated, or correct the file",
        of="image",
    )
    SAME_NAME = Kind(
        "several categories have one name",
        "rename or remove those that no annotation uses: a model has one class of that name",
        of="name",
    )
    IMAGE_TEXT = Kind(
        "image_id is text and its image's id a number, or the other way round", _ALIKE
    )
    CATEGORY_TEXT = Kind(
        "category_id is text and its category's id a number, or the other way round", _ALIKE
    )
    IMAGE = Kind("image_id belongs to no image of the file")
    CATEGORY = Kind("category_id belongs to no category of the file")
    UNIT = Kind(
        "all boxes lie between 0 and 1, which is one pixel",
        "coordinates are in pixels: multiply them by the width and height of their image",
    )
    CROWD = Kind(
        "all annotations are crowd regions (iscrowd), which are not evaluated",
        "iscrowd is 1 only where one annotation covers many objects",
    )
    BOX = Kind("bbox is not 4 or 5 finite numbers, or has a negative side")
    FAR = Kind(
        f"coordinates are beyond {FAR:,} pixels",
        "correct them: rotated boxes so far away are not evaluated",
    )
    PLACE = Kind("box lies outside of its image")
    THIN = Kind("box has a side of less than a pixel")
    DEGREES = Kind("theta is beyond 2 pi: it is in radians", _OPENCV)
    NO_AREA = Kind("segmentation has no area: its corners are on a line, or its edges cross")
    MIRRORED = Kind(
        "segmentation is turned the other way: theta is positive clockwise, it goes anti-clockwise",
        "negate theta",
    )
    OTHER = Kind(
        "segmentation is not the box turned by theta", f"{_OPENCV}, MMRotate's with --from le90"
    )
    EXIF = Kind(
        "image is to be turned by its EXIF orientation, which is ignored",
        "if it was annotated as viewers show it, use --exif apply; COCO's own images were not",
        wrong=False,
        of="image",
    )
    LOW_BITS = Kind(
        "16-bit image has values of 12 bits or less: it comes out almost black (or white)",
        "scale its values to 16 bits",
        of="image",
    )
    NO_BOX = Kind("no bbox: the segmentation counts", wrong=False)
    FLAT = Kind("bbox has no theta: the segmentation counts", wrong=False)
    NO_THETA = Kind("bbox has no theta: 0 is taken", wrong=False)
    NO_OUTLINE = Kind("no segmentation of polygons: the corners of the box count", wrong=False)
    POINTS = Kind("segmentation of points instead of numbers: read as polygons", wrong=False)
    AREA = Kind("no area: width * height counts", wrong=False)
    FIVE = Kind(
        "bbox has five numbers: a rotated box, left out without --rotated-bbox", wrong=False
    )


@dataclass
class Finding:
    """A problem that was found.

    Attributes:
        problem: its kind.
        first: the first occurrence, such as `has id 17`.
        count: number of occurrences.
    """

    problem: Problem
    first: str
    count: int = 0

    def __str__(self) -> str:
        return f"{self.text}\n  hint: {self.remedy}" if self.remedy else self.text

    @property
    def remedy(self) -> str:
        """What to do about it; empty if the text says so."""
        return self.problem.value.remedy

    @property
    def text(self) -> str:
        """What was found, how often, and where first."""
        kind = self.problem.value
        number = counted(self.count, kind.of, "entries" if kind.of == "entry" else "")
        return f"{kind.text}: {number}, the first {self.first}"


class Findings:
    """Counts problems as they are found, and remembers the first of each kind."""

    def __init__(self) -> None:
        self._found: dict[Problem, Finding] = {}

    def __iter__(self) -> Iterator[Finding]:
        """Yield what was found, the worst first."""
        return (self._found[problem] for problem in Problem if problem in self._found)

    def count(self, problem: Problem) -> int:
        """Return how often a problem was found."""
        return self._found[problem].count if problem in self._found else 0

    def add(self, problem: Problem, first: str, count: int = 1) -> None:
        """Count a problem; `first` says where it is, if it is the first of its kind."""
        self._found.setdefault(problem, Finding(problem, first)).count += count

    def add_annotation(self, problem: Problem, entry: Mapping[str, Any]) -> None:
        """Count a problem of an annotation."""
        # Its id is formatted only once: there may be millions.
        self.add(problem, "" if problem in self._found else f"has id {shown(entry.get('id'))}")


def shown(value: object) -> str:
    """Format a JSON value as short ASCII text: a file may contain anything."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
