"""The report of one detector against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odtk_ray import __version__
from odtk_ray.evaluation.analysis import Analysis
from odtk_ray.evaluation.status import KINDS
from odtk_ray.reports import plots
from odtk_ray.reports.chosen_images import choose_images
from odtk_ray.reports.content import Content, Ints
from odtk_ray.reports.page import render, script_json
from odtk_ray.reports.picture_boxes import Box, BoxSource
from odtk_ray.reports.tables import class_table, confusion, size_table
from odtk_ray.reports.thumbnails import Thumbnail, make_thumbnails

LARGEST = 20_000_000  # bytes of a report

_MEANINGS = {
    "class": "right place, wrong class",
    "location": "right class, IoU 0.1 to 0.5",
    "both": "wrong class, IoU 0.1 to 0.5",
    "duplicate": "its box is found by a better one",
    "background": "on nothing",
    "missed": "no detection, right or nearly right",
}


@dataclass(frozen=True)
class Card:
    """A picture with its boxes.

    Attributes:
        name: of the image.
        width: in pixels; what the boxes reach to where the size is not known.
        height: likewise.
        uri: data URI of the picture; empty without one.
        boxes: drawn over it.
    """

    name: str
    width: int
    height: int
    uri: str
    boxes: Sequence[Box]

    def count(self, kind: str) -> int:
        """Count the boxes of a kind that are shown at first."""
        return sum(box.shown for box in self.boxes if box.kind == kind)


def evaluation_report(content: Content) -> bytes:
    """Make the report, in UTF-8.

    It has at most 200 pictures and 20 MB; fewer or smaller pictures where they would take more.
    """
    analysis = content.detector.analysis
    worst, best = choose_images(analysis.images)
    chosen = np.concatenate([worst, best])
    source = BoxSource.of(content, chosen)
    boxes = {int(image): source.boxes(int(image)) for image in chosen}
    nothing: list[Thumbnail | None] = [None] * len(chosen)
    without = _render(content, _cards(content, chosen, boxes, nothing), len(worst))
    path = content.pictures.path
    if path is None:
        return without
    room = LARGEST - len(without)
    small = make_thumbnails([path(int(image)) for image in chosen], content.pictures.prep, room)
    return _render(content, _cards(content, chosen, boxes, small), len(worst))


def _cards(
    content: Content,
    images: Ints,
    boxes: dict[int, list[Box]],
    thumbnails: Sequence[Thumbnail | None],
) -> list[Card]:
    cards = []
    for image, small in zip(images.tolist(), thumbnails, strict=True):
        height, width = content.pictures.sizes[image].tolist()
        if small is not None:
            width, height = small.width, small.height
        name, uri = content.pictures.names[image], small.uri if small else ""
        cards.append(Card(name, width or 1, height or 1, uri, boxes[image]))
    return cards


def _render(content: Content, cards: Sequence[Card], worst: int) -> bytes:
    analysis = content.detector.analysis
    sweep = plots.Sweep.of(analysis.curves)
    return render(
        "evaluation.html",
        version=__version__,
        title=content.title,
        content=content,
        analysis=analysis,
        totals=_totals(analysis),
        sweep=sweep,
        lines=_lines(analysis, sweep),
        plot=plots,
        classes=class_table(analysis),
        sizes=size_table(analysis),
        confusion=confusion(analysis),
        worst=cards[:worst],
        best=cards[worst:],
        pictures=sum(bool(card.uri) for card in cards),
        meanings=_MEANINGS,
        data=script_json(_data(analysis)),
    )


def _totals(analysis: Analysis) -> dict[str, float]:
    """Sum up all images at the chosen thresholds."""
    counts = analysis.images.sum(axis=0, dtype=np.int64).tolist()
    right, missed = counts[0], counts[KINDS.index("missed")]
    wrong = sum(counts) - right - missed
    return {
        "right": right,
        "wrong": wrong,
        "missed": missed,
        "precision": right / max(right + wrong, 1),
        "recall": right / max(right + missed, 1),
        "f1": 2 * right / max(2 * right + wrong + missed, 1),
    }


def _lines(analysis: Analysis, sweep: plots.Sweep) -> dict[str, str]:
    curves = analysis.curves
    steps = np.linspace(0, 1, len(curves.scores))
    recalls = np.linspace(0, 1, curves.precision.shape[1])
    return {
        "precision": plots.line(steps, sweep.precision),
        "recall": plots.line(steps, sweep.recall),
        "f1": plots.line(steps, sweep.f1),
        "curve": plots.line(recalls, plots.mean_precision(curves)),
    }


def _data(analysis: Analysis) -> dict[str, Any]:
    """Return what the script computes with."""
    curves = analysis.curves
    return {
        "scores": curves.scores.tolist(),
        "classes": [
            {
                "right": curves.right[c].tolist(),
                "wrong": curves.wrong[c].tolist(),
                "positives": int(curves.positives[c]),
                "curve": curves.precision[c].round(3).tolist(),
                "own": None if point is None else point.threshold,
                "ownRight": 0 if point is None else point.right,
                "ownWrong": 0 if point is None else point.wrong,
            }
            for c, point in enumerate(analysis.points)
        ],
    }
