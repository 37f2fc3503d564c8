"""Matches the detections of two detectors one to one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import GroundTruth
from odtk_ray.datasets.polygons import Polygons
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.evaluation.matching import Ints, overlapping
from odtk_ray.evaluation.overlap import BoxOverlap, Overlap, PolygonOverlap


def find_partners(one: DetectionTable, other: DetectionTable, least: float) -> tuple[Ints, Ints]:
    """Match detections of the same image and category one to one, the best overlap first.

    Args:
        one: n detections, sorted by image.
        other: m detections, sorted by image.
        least: lowest IoU of a pair; of rotated boxes that of their outlines.

    Returns:
        int64 [n] and int64 [m], the partner of each detection in the other table; -1 for none.
    """
    classes = 1 + max(int(table.category.max(initial=-1)) for table in (one, other))
    order = np.lexsort((other.category, other.image))
    wanted = DetectionTable(
        other.image[order], other.category[order], other.score[order], other.bbox[order]
    )
    groups = [table.image * classes + table.category for table in (one, wanted)]
    iou = _overlap(wanted).pairs(one.bbox, one.image, np.arange(len(wanted)))
    first, second, value = overlapping(groups[0], groups[1], iou, least)
    second = order[second]
    ranked = np.lexsort((second, first, -value))
    first, second = first[ranked], second[ranked]
    partners = np.full(len(one), -1), np.full(len(other), -1)
    while len(first):
        # A pair that is the best of both its detections is final; the next ones are then found.
        best = _is_first(first) & _is_first(second)
        partners[0][first[best]], partners[1][second[best]] = second[best], first[best]
        open_ = (partners[0][first] < 0) & (partners[1][second] < 0)
        first, second = first[open_], second[open_]
    return partners


def _is_first(values: Ints) -> NDArray[np.bool_]:
    """Return which values occur for the first time."""
    first = np.zeros(len(values), np.bool_)
    first[np.unique(values, return_index=True)[1]] = True
    return first


def _overlap(table: DetectionTable) -> Overlap:
    """Return how detections are compared with those of a table, taken as ground truth."""
    count = len(table)
    outlines = None
    if table.bbox.shape[1] == 5:
        ends = np.arange(count + 1)
        outlines = Polygons(corners(table.bbox).reshape(-1, 2), 4 * ends, ends)
    truth = GroundTruth(
        table.image,
        table.category.astype(np.int32),
        table.bbox[:, :4],
        table.bbox[:, 2] * table.bbox[:, 3],
        np.zeros(count, np.bool_),
        outlines,
    )
    return BoxOverlap(truth) if outlines is None else PolygonOverlap(truth)
