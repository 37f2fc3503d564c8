"""The rows that travel through a run, and their Arrow schemas.

A record is one planned image; its result has its detections or its error. Every record has exactly
one result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Arrow cannot select rows of a `string` column with more than 2 GiB, such as 25 million paths.
_TEXT = pa.large_string()

RECORD_SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),  # record order, 0..n-1
        pa.field("image_id", _TEXT, nullable=False),  # JSON text: `17` or `"a17"`
        pa.field("file_name", _TEXT, nullable=False),  # as the outputs show it
        pa.field("path", _TEXT, nullable=False),  # absolute local path or URI
        pa.field("width", pa.int32(), nullable=False),  # pixels, a hint; 0 when unknown
        pa.field("height", pa.int32(), nullable=False),
        pa.field("entry", _TEXT, nullable=False),  # JSON text of the `images` entry, verbatim
    ]
)

# The columns of a record that a worker needs.
WORK_COLUMNS = ("index", "path", "width", "height")

RESULT_SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),
        pa.field("error", pa.string()),  # null: detected; otherwise why the image failed
        pa.field("width", pa.int32(), nullable=False),  # decoded size in pixels; 0 when failed
        pa.field("height", pa.int32(), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),  # descending
        pa.field("classes", pa.list_(pa.int32()), nullable=False),  # 0-based class index
        # boxes_img, xyxy, inclusive corners, one after the other: 4 numbers a detection, or 6 of a
        # rotated model, where sin and cos of theta follow
        pa.field("boxes", pa.list_(pa.float32()), nullable=False),
    ]
)


def to_bbox(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Convert boxes to the `bbox` that output files have.

    Args:
        boxes: float32 [n, 4], xyxy with inclusive corners; rotated [n, 6], where the sin and cos of
            theta follow.

    Returns:
        float64 [n, 4], COCO's `bbox`, xywh, as ODTK writes it: x2 - x1 + 1 in double precision;
        rotated [n, 5], where theta follows, in radians in (-pi, pi].
    """
    rows = boxes.astype(np.float64)
    bbox = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2] + 1], axis=1)
    if rows.shape[1] == 6:
        bbox = np.column_stack([bbox, atan2(rows[:, 4], rows[:, 5])])
    return bbox


def atan2(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute angles as the C library does, on every CPU alike.

    NumPy's arctan2 has code of its own for AVX-512, whose last bit differs for 7% of all angles.

    Args:
        y: float64 [n].
        x: float64 [n].

    Returns:
        float64 [n], radians in [-pi, pi].
    """
    return np.fromiter(map(math.atan2, y.tolist(), x.tolist()), np.float64, len(y))


@dataclass(frozen=True)
class Detections:
    """The detections in one image, best first.

    Attributes:
        scores: float32 [n], in (0, 1], descending.
        boxes: float32 [n, 4], xyxy with inclusive corners, in the space that the owner names
            (engines give boxes_net, results hold boxes_img); rotated [n, 6], where the sin and cos
            of theta follow.
        classes: int32 [n], 0-based class index.
    """

    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int32]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape not in ((n, 4), (n, 6)) or self.classes.shape != (n,):
            raise ValueError(
                f"detections disagree: {n} scores, boxes {self.boxes.shape}, "
                f"classes {self.classes.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)


_NOTHING = Detections(np.empty(0, np.float32), np.empty((0, 4), np.float32), np.empty(0, np.int32))


@dataclass(frozen=True)
class Traits:
    """What the pixels of a picture do not show.

    Attributes:
        orientation: EXIF orientation that was not applied, 1 (upright) to 8.
        peak: the largest value of 16-bit gray, before it became 8-bit; None for other pictures.
    """

    orientation: int = 1
    peak: int | None = None


PLAIN = Traits()


@dataclass(frozen=True)
class ImageResult:
    """The result of one image: its detections, or why it failed.

    Attributes:
        error: why it failed; None if it did not.
        width: decoded width in pixels, 0 when it failed.
        height: decoded height in pixels, 0 when it failed.
        detections: boxes_img; empty when it failed.
        by_pillow: whether the CPU decoded it although the run's decoder is the GPU's.
        traits: of the picture.
    """

    error: str | None
    width: int
    height: int
    detections: Detections
    by_pillow: bool = False
    traits: Traits = PLAIN

    @classmethod
    def failed(cls, error: str) -> ImageResult:
        """Return the result of an image that cannot be processed."""
        return cls(error, 0, 0, _NOTHING)

    def above(self, limits: Sequence[float]) -> ImageResult:
        """Return the result with those detections alone whose score is greater than their class'.

        Args:
            limits: for each class; none keep all detections.
        """
        found = self.detections
        if not limits or not len(found):
            return self
        kept = found.scores > np.array(limits)[found.classes]
        return replace(
            self, detections=Detections(found.scores[kept], found.boxes[kept], found.classes[kept])
        )
