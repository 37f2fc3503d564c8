"""Compares the detections of an exported model with those of its reference, on a few pictures.

Both are engines that take pictures and also return their raw outputs: the comparison does not
depend on PyTorch, ONNX Runtime or TensorRT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from odtk_ray.artifacts.exported_model import ExportedModel
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.evaluation.partners import find_partners
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.images.decode_image import load_picture
from odtk_ray.images.image_file import read_image_file
from odtk_ray.plural import counted
from odtk_ray.records import Detections, to_bbox
from odtk_ray.settings import Preprocessing

PICTURES = 4  # compared at most
SAME_IOU, COUNTED_SCORE = 0.9, 0.3  # what a matched detection is, and which ones are counted

_NAMES = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime"}  # by the first word of the key


class PictureDetector(Protocol):
    """Detects in pictures that are decoded and resized already.

    Attributes:
        key: as `Engine.key`.
    """

    key: str

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[Detections]:
        """See `HostEngine.detect`."""


class ComparableDetector(PictureDetector, Protocol):
    """A detector that also returns its raw outputs."""

    def raw(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[NDArray[np.float32]]:
        """Return the outputs of the network, or of its graph, for pictures as `detect` takes them.

        Returns:
            `score_1..n` and `box_1..n`, float32 [len(pictures), channels, h, w]; `scores`, `boxes`
            and `classes` of a graph that ends in detections.
        """


@dataclass(frozen=True)
class DetectionComparison:
    """The differences between an exported model and its reference.

    Attributes:
        pictures: how many it was run on.
        made_up: whether they are noise, in which a trained model may find nothing.
        finite: whether its outputs are.
        reference: name of the reference, such as `PyTorch`; None without one.
        scores: greatest difference of a raw score; None where the graph ends in detections.
        deltas: greatest difference of a raw box delta; likewise.
        matched: counted detections with a partner in the other run.
        counted: detections of both runs with a score of 0.3 or more.
    """

    pictures: int
    made_up: bool
    finite: bool
    reference: str | None = None
    scores: float | None = None
    deltas: float | None = None
    matched: int = 0
    counted: int = 0

    @property
    def share(self) -> float:
        """Share of the counted detections that are matched; 1 if there are none."""
        return self.matched / self.counted if self.counted else 1.0

    def line(self) -> str:
        """Format the result for people."""
        kind = "made-up pictures" if self.made_up else "pictures"
        where = f"{self.pictures} {kind}"
        if self.reference is None:
            return f"it runs: its outputs are {'' if self.finite else 'not '}finite on {where}"
        parts = [f"{self.matched:,} of {counted(self.counted, 'detection')} matched"]
        if not self.counted:
            parts = ["nothing detected (--check-images DIR gives it something to find)"]
        if self.scores is not None and self.deltas is not None:
            parts.insert(0, f"scores within {self.scores:.1g}, box deltas within {self.deltas:.1g}")
        return f"checked against {self.reference} on {where}: {', '.join(parts)}"


def reference_name(engine: PictureDetector) -> str:
    """Return the name of an engine for people."""
    return _NAMES[engine.key.split("-")[0]]


def check_pictures(
    images: str | None, size: tuple[int, int], lists: ImageLists
) -> list[NDArray[np.uint8]]:
    """Return pictures of at most the model's size: a few that decode, or seeded noise.

    They are taken from all over the folder: neighbours often show the same, or nothing.

    Args:
        images: folder, file, glob, list or URI; None makes noise.
        size: height and width in pixels.
        lists: of images.

    Raises:
        UsageError: there are images, and none of them can be used.
    """
    if images is None:
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (2, size[0] // 16, size[1] // 16, 3), dtype=np.uint8)
        return list(coarse.repeat(16, axis=1).repeat(16, axis=2))
    pictures = []
    prep = Preprocessing(fit=size)
    paths = lists.paths(images)
    step = -(-len(paths) // PICTURES)
    for path in (path for start in range(step) for path in paths[start::step]):
        try:
            pictures.append(load_picture(read_image_file(path, prep), prep).pixels)
        except (ImageError, OSError):
            continue
        if len(pictures) == PICTURES:
            break
    if not pictures:
        raise UsageError(f"no image in {images} can be used for the check")
    return pictures


def compare(
    exported: ComparableDetector,
    reference: ComparableDetector | None,
    about: ExportedModel,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    made_up: bool,
) -> DetectionComparison:
    """Run an exported model and its reference on the same network input.

    Args:
        exported: the exported model.
        reference: the model that it should equal; None only checks that the exported one runs.
        about: the exported model's description.
        pictures: uint8 [h, w, 3], RGB, of at most the model's size.
        made_up: whether the pictures are noise.
    """
    outputs = exported.raw(pictures, about.size)
    finite = all(bool(np.isfinite(output).all()) for output in outputs)
    found = exported.detect(pictures, about.size)
    if reference is None:
        return DetectionComparison(len(pictures), made_up, finite)
    scores = deltas = None
    if about.outputs == "raw":
        expected = reference.raw(pictures, about.size)
        levels = len(about.strides)
        scores = _furthest(outputs[:levels], expected[:levels])
        deltas = _furthest(outputs[levels:], expected[levels:])
    pairs = zip(found, reference.detect(pictures, about.size), strict=True)
    counts = [match(one, other) for one, other in pairs]
    matched, counted = (sum(column) for column in zip(*counts, strict=True))
    name = reference_name(reference)
    return DetectionComparison(
        len(pictures), made_up, finite, name, scores, deltas, matched, counted
    )


def _furthest(ones: Sequence[NDArray[np.float32]], others: Sequence[NDArray[np.float32]]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(ones, others, strict=True))


def match(
    one: Detections, other: Detections, *, iou: float = SAME_IOU, score: float = COUNTED_SCORE
) -> tuple[int, int]:
    """Match the detections of two runs one to one, the best overlap first.

    Args:
        one: of one picture.
        other: of the same picture in the other run.
        iou: least overlap of a pair, whose classes are equal; of rotated boxes that of outlines.
        score: detections of at least this score are counted, their partners may have less.

    Returns:
        How many counted detections of both runs have a partner, and how many are counted.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # those that are not finite have no overlap
        partners = find_partners(as_table(one), as_table(other), iou)
    matched = counted = 0
    for found, partner in zip((one, other), partners, strict=True):
        is_counted = found.scores >= score
        counted += int(is_counted.sum())
        matched += int((is_counted & (partner >= 0)).sum())
    return matched, counted


def as_table(found: Detections) -> DetectionTable:
    """Convert the detections of one picture."""
    return DetectionTable(
        np.zeros(len(found), np.int64),
        found.classes.astype(np.int64),
        found.scores.astype(np.float64),
        to_bbox(_upright(found.boxes)),
    )


def _upright(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Order the corners of boxes: clipping can leave the second one before the first."""
    first, last = boxes[:, :2], boxes[:, 2:4]
    ordered = [np.minimum(first, last), np.maximum(first, last), boxes[:, 4:]]
    return np.concatenate(ordered, axis=1)
