"""How every export ends: it is run, compared and judged, and what was found is said."""

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
from odtk_ray.export.check.average_precision import (
    LEAST_KEPT,
    Accuracy,
    Annotated,
    measure_accuracy,
    read_annotated,
)
from odtk_ray.export.check.compare_detections import (
    PICTURES,
    Check,
    Comparable,
    check_pictures,
    compare,
)
from odtk_ray.export.image_lists import ImageLists

# Below this share of matched detections an export is said to be off. INT8 keeps more than that.
LEAST_MATCHED = 0.97


class Unavailable(Exception):  # noqa: N818 - a state of the machine, not a failure
    """A model cannot be run here; the message is a clause that says why."""


# Given the pictures of one call, opens a model for as long as the context lasts.
Opener: TypeAlias = Callable[[int], AbstractContextManager[Comparable]]


@dataclass(frozen=True)
class Material:
    """What an export is judged on.

    Attributes:
        about: what the exported model says about itself.
        pictures: uint8 [h, w, 3], RGB, of at most its size.
        made_up: whether they are noise.
        annotated: images to measure AP on; None without annotations.
    """

    about: ExportedModel
    pictures: list[NDArray[np.uint8]]
    made_up: bool
    annotated: Annotated | None

    @property
    def batch(self) -> int:
        """Pictures that are given to an engine at once."""
        return PICTURES if self.annotated else len(self.pictures)


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        check: None where the exported model cannot be run here.
        accuracy: None without annotations, or where the exported model cannot be run here.
        why: why it was not run, or not compared; empty if it was.
    """

    check: Check | None
    accuracy: Accuracy | None = None
    why: str = ""

    def lines(self) -> list[str]:
        """For people."""
        if self.check is None:
            return [f"not run here: {self.why}"]
        lines = [self.check.line()]
        if self.why:
            lines[0] += f"; not compared: {self.why}"
        return lines if self.accuracy is None else [*lines, self.accuracy.line()]

    def warnings(self) -> list[str]:
        """Why the export is off, if it is; where AP was compared, it decides."""
        check, accuracy = self.check, self.accuracy
        if check is not None and not check.finite:
            return ["some outputs are not finite: the export is off"]
        if accuracy is not None and accuracy.reference:  # of 0 there is nothing to lose
            if accuracy.kept >= LEAST_KEPT:
                return []
            return [f"AP falls by {1 - accuracy.kept:.1%}: the export is off"]
        if check is not None and check.share < LEAST_MATCHED:
            return [
                f"only {check.share:.1%} of the detections match {check.reference}'s: the export "
                "is off (--calibration-annotations measures AP)"
            ]
        return []


def gather(config: ExportConfig, about: ExportedModel, lists: ImageLists) -> Material:
    """Reads what the export will be judged on, so that nothing is built in vain.

    Args:
        config: names images and annotations.
        about: what the exported model will say about itself.
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
                hint="--calibration-images or --check-images is the folder of its files",
            )
        annotated = read_annotated(config.calibration_annotations, folder, about)
    pictures = check_pictures(images, about.size, lists)
    return Material(about, pictures, images is None, annotated)


def judge(material: Material, exported: Comparable, open_reference: Opener) -> Verdict:
    """Compares an exported model, which runs, with what it was made of, if that does too."""
    try:
        with open_reference(material.batch) as reference:
            return _verdict(material, exported, reference)
    except Unavailable as error:
        return _verdict(material, exported, None, str(error))


def _verdict(
    material: Material, exported: Comparable, reference: Comparable | None, why: str = ""
) -> Verdict:
    about = material.about
    check = compare(exported, reference, about, material.pictures, made_up=material.made_up)
    accuracy = None
    if material.annotated is not None:
        accuracy = measure_accuracy(exported, reference, about, material.annotated)
    return Verdict(check, accuracy, why)
