"""The kinds of problems in annotation files, and what to do about each."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass

from odtk_ray.datasets import ground_truth
from odtk_ray.plural import counted

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
    IMAGE = Kind("image_id belongs to no image of the file")
    CATEGORY = Kind("category_id belongs to no category of the file")
    BOX = Kind("bbox is not 4 or 5 finite numbers, or has a negative side")
    FAR = Kind(
        f"coordinates are beyond {ground_truth.FAR:,} pixels",
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
    NO_BOX = Kind("no bbox: the segmentation counts", wrong=False)
    FLAT = Kind("bbox has no theta: the segmentation counts", wrong=False)
    NO_THETA = Kind("bbox has no theta: 0 is taken", wrong=False)
    NO_OUTLINE = Kind("no segmentation of polygons: the corners of the box count", wrong=False)
    POINTS = Kind("segmentation of points instead of numbers: read as polygons", wrong=False)
    AREA = Kind("no area: width * height counts", wrong=False)
    FIVE = Kind("bbox of five numbers: give --rotated-bbox", wrong=False)


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
        kind = self.problem.value
        number = counted(self.count, kind.of, "entries" if kind.of == "entry" else "")
        return f"{kind.text}: {number}, the first {self.first}"


def shown(value: object) -> str:
    """Format a JSON value as short ASCII text: a file may contain anything."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
