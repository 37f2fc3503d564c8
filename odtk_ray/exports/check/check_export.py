"""Checks an export: runs it, compares it with its reference, and warns if they differ too much."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from odtk_ray.artifacts.exported_model import ExportedModel
from odtk_ray.config import ExportConfig
from odtk_ray.errors import UsageError
from odtk_ray.exports.check.average_precision import (
    LEAST_KEPT,
    Accuracy,
    AnnotatedImages,
    measure_accuracy,
    read_annotated,
)
from odtk_ray.exports.check.compare_detections import (
    PICTURES,
    ComparableDetector,
    DetectionComparison,
    check_pictures,
    compare,
)
from odtk_ray.exports.image_lists import ImageLists

# Below this share of matched detections the check warns. INT8 keeps more than that.
LEAST_MATCHED = 0.97


class Unavailable(Exception):  # noqa: N818 - a state of the machine, not a failure
    """A model cannot be run here; the message is a clause that says why."""


# Given the pictures of one call, opens a model for as long as the context lasts.
Opener: TypeAlias = Callable[[int], AbstractContextManager[ComparableDetector]]


@dataclass(frozen=True)
class CheckData:
    """The pictures and annotations that an export is checked with.

    Attributes:
        about: the exported model's description.
        pictures: uint8 [h, w, 3], RGB, of at most its size.
        made_up: whether the pictures are noise.
        annotated: images to measure AP on; None without annotations.
    """

    about: ExportedModel
    pictures: list[NDArray[np.uint8]]
    made_up: bool
    annotated: AnnotatedImages | None

    @property
    def batch(self) -> int:
        """Pictures that are given to an engine at once."""
        return PICTURES if self.annotated else len(self.pictures)


@dataclass(frozen=True)
class CheckResult:
    """The result of checking an export.

    Attributes:
        comparison: None if the exported model cannot run here.
        accuracy: None without annotations, or if the exported model cannot run here.
        why: the reason if it was not run or not compared; otherwise empty.
    """

    comparison: DetectionComparison | None
    accuracy: Accuracy | None = None
    why: str = ""

    def lines(self) -> list[str]:
        """Format the result for people."""
        if self.comparison is None:
            return [f"not run here: {self.why}"]
        lines = [self.comparison.line()]
        if self.why:
            lines[0] += f"; not compared: {self.why}"
        return lines if self.accuracy is None else [*lines, self.accuracy.line()]

    def warnings(self) -> list[str]:
        """Return why the exported model differs too much, if it does; AP decides, if measured."""
        comparison, accuracy = self.comparison, self.accuracy
        if comparison is not None and not comparison.finite:
            return ["some outputs of the exported model are not finite"]
        if accuracy is not None and accuracy.reference:  # an AP of 0 cannot fall
            if accuracy.kept >= LEAST_KEPT:
                return []
            return [f"AP falls by {1 - accuracy.kept:.1%}: the exported model differs too much"]
        if comparison is not None and comparison.share < LEAST_MATCHED:
            return [
                f"only {comparison.share:.1%} of the detections match {comparison.reference}'s: "
                "the exported model differs too much (--calibration-annotations measures AP)"
            ]
        return []


def load_check_data(config: ExportConfig, about: ExportedModel, lists: ImageLists) -> CheckData:
    """Read the images and annotations of the check first, so that nothing is built in vain.

    Args:
        config: names images and annotations.
        about: the exported model's description.
        lists: of images.

    Raises:
        UsageError: images or annotations cannot be used.
    """
    images = config.check_images or config.calibration_images
    annotated = None
    if config.calibration_annotations is not None:
        folder = config.calibration_images or config.check_images
        if folder is None:
            raise UsageError(
                "--calibration-annotations needs images",
                hint="--calibration-images or --check-images names the folder of its files",
            )
        annotated = read_annotated(config.calibration_annotations, folder, about)
    pictures = check_pictures(images, about.size, lists)
    return CheckData(about, pictures, images is None, annotated)


def check_export(
    check_data: CheckData, exported: ComparableDetector, open_reference: Opener
) -> CheckResult:
    """Compare an exported model with its reference, if that can run here."""
    try:
        with open_reference(check_data.batch) as reference:
            return _compare(check_data, exported, reference)
    except Unavailable as error:
        return _compare(check_data, exported, None, str(error))


def _compare(
    check_data: CheckData,
    exported: ComparableDetector,
    reference: ComparableDetector | None,
    why: str = "",
) -> CheckResult:
    about = check_data.about
    comparison = compare(
        exported, reference, about, check_data.pictures, made_up=check_data.made_up
    )
    accuracy = None
    if check_data.annotated is not None:
        accuracy = measure_accuracy(exported, reference, about, check_data.annotated)
    return CheckResult(comparison, accuracy, why)
