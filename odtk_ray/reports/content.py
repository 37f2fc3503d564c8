"""What a report is made of, whichever command asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import GroundTruth
from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.settings import Preprocessing

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pictures:
    """The images that were evaluated.

    Attributes:
        names: what people call each of them.
        sizes: int64 [n, 2], (height, width) in pixels; 0 where nobody knows.
        path: returns the path or URI of an image by its index, or None where it has no file that
            may be read; None where nobody said where the files are.
        prep: how they are decoded.
    """

    names: Sequence[str]
    sizes: Ints
    path: Callable[[int], str | None] | None
    prep: Preprocessing


@dataclass(frozen=True)
class Detector:
    """One detector and what it has found.

    Attributes:
        name: shown.
        letter: a or b where two are compared; empty otherwise.
        analysis: of its detections.
        select: returns the detections of some images, which are given ascending: their rows in
            `analysis.detections`, int64 [n], and a table of n rows.
    """

    name: str
    letter: str
    analysis: Analysis
    select: Callable[[Ints], tuple[Ints, DetectionTable]]


@dataclass(frozen=True)
class RunFacts:
    """What a report says of the run that detected.

    Attributes:
        failures: name of each failed image, the first ones, and why.
        failed: how many there are.
        stages: what the run did, and for how many seconds, one after the other.
    """

    failures: Sequence[tuple[str, str]]
    failed: int
    stages: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Content:
    """Everything that a report shows besides figures.

    Attributes:
        title: its heading.
        detectors: one, or two that are compared.
        truth: the boxes to find.
        pictures: the images.
        facts: names and values of settings, files and hardware.
        remarks: what is odd about the files.
        run: of the run that detected; None for detections of files.
    """

    title: str
    detectors: Sequence[Detector]
    truth: GroundTruth
    pictures: Pictures
    facts: Sequence[tuple[str, str]]
    remarks: Sequence[str]
    run: RunFacts | None = None


def select_rows(table: DetectionTable, images: Ints) -> tuple[Ints, DetectionTable]:
    """Return the rows of some images of a table that is sorted by image, and these rows alone."""
    first = np.searchsorted(table.image, images, side="left")
    stop = np.searchsorted(table.image, images, side="right")
    ranges = [np.arange(a, b) for a, b in zip(first.tolist(), stop.tolist(), strict=True)]
    rows = np.concatenate([np.empty(0, np.int64), *ranges])
    part = DetectionTable(
        table.image[rows], table.category[rows], table.score[rows], table.bbox[rows]
    )
    return rows, part
