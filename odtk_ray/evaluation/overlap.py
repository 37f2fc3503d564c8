"""Three ways to compare detections with ground truth: boxes, exact polygons, COCO's masks."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ground_truth import GroundTruth
from odtk_ray.datasets.polygons import Polygons
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.evaluation.matching import Floats, Ints, PairIou, expand

# Pixels. COCO's rasteriser walks along outlines in steps of a fifth of a pixel, and a detection
# that is inverted, far outside of its picture, may be of any size.
_FARTHEST = 1e5


# COCO's last limit: the best detections of an image and class that count.
COCO_LIMIT = 100


class Overlap(Protocol):
    """Compares detections with ground truth.

    Attributes:
        limit: how many detections of an image and class count for precision, best first; None
            where all do.
    """

    limit: int | None

    def pairs(self, bbox: Floats, images: Ints, rows: Ints) -> PairIou:
        """Prepare some detections and some ground truth.

        Args:
            bbox: float64 [n, 4 or 5], xywh, and theta of rotated boxes; pixels of the image.
            images: int64 [n], record index of each detection's image.
            rows: int64 [m], rows of the ground truth, of the same images.

        Returns:
            what gives the IoU of pairs, each a position in `bbox` and one in `rows`; where the
            ground truth is a crowd region it is the share of the detection that it covers.
        """


class BoxOverlap:
    """Axis-aligned boxes: pycocotools' iouType "bbox"."""

    limit: int | None = COCO_LIMIT

    def __init__(self, truth: GroundTruth) -> None:
        self._truth = truth

    def pairs(self, bbox: Floats, images: Ints, rows: Ints) -> PairIou:
        """See `Overlap`."""
        wanted, crowd = self._truth.bbox[rows], self._truth.crowd[rows]
        return lambda det, gt: _box_iou(bbox[det], wanted[gt], crowd[gt])


class PolygonOverlap:
    """Rotated boxes against outlines, by their exact areas; as in DOTA all detections count."""

    limit: int | None = None

    def __init__(self, truth: GroundTruth) -> None:
        self._crowd = truth.crowd
        self._edges = _outlines(truth).edges()

    def pairs(self, bbox: Floats, images: Ints, rows: Ints) -> PairIou:
        """See `Overlap`."""

        def iou(det: Ints, gt: Ints) -> Floats:
            boxes, wanted = bbox[det], rows[gt]
            sides = np.maximum(boxes[:, 2:4] - 1, 0)
            area, other = sides[:, 0] * sides[:, 1], self._edges.area[wanted]
            common = np.minimum(self._common(boxes, sides, wanted), np.minimum(area, other))
            union = np.where(self._crowd[wanted], area, area + other - common)
            values = np.zeros(len(det))
            np.divide(common, union, out=values, where=common > 0)
            return values

        return iou

    def _common(self, boxes: Floats, sides: Floats, wanted: Ints) -> Floats:
        """Compute the areas that boxes share with outlines; see `ops.rotated` for the integral."""
        first = self._edges.ends[wanted]
        count = self._edges.ends[wanted + 1] - first
        edges, pair = expand(first, count), np.repeat(np.arange(len(wanted)), count)
        centre = boxes[pair, :2] + (boxes[pair, 2:4] - 1) / 2
        sin, cos = np.sin(boxes[:, 4])[pair], np.cos(boxes[:, 4])[pair]
        ends = []
        for points in (self._edges.start, self._edges.stop):
            right, down = (points[edges] - centre).T
            ends.append((right * cos + down * sin, down * cos - right * sin))
        half_w, half_h = sides[pair].T / 2
        share = _below_edge(*ends[0], *ends[1], half_w, half_h)
        return np.abs(np.bincount(pair, share, minlength=len(wanted)))


class MaskOverlap:
    """Rotated boxes against outlines by their pixels: pycocotools' iouType "segm", as in ODTK.

    Args:
        truth: with polygons.
        sizes: int64 [n_records, 2], (height, width) of each image in pixels.
    """

    limit: int | None = COCO_LIMIT

    def __init__(self, truth: GroundTruth, sizes: Ints) -> None:
        self._crowd, self._polygons, self._sizes = truth.crowd, _outlines(truth), sizes

    def pairs(self, bbox: Floats, images: Ints, rows: Ints) -> PairIou:
        """See `Overlap`."""
        from pycocotools import mask

        outlines = corners(bbox).reshape(-1, 8)
        image_of_gt: dict[int, int] = {}

        def detection(i: int) -> Any:
            near = np.abs(outlines[i]).max() < _FARTHEST
            ring = outlines[i].tolist() if near else [-1.0] * 8
            return mask.frPyObjects([ring], *self._sizes[images[i]].tolist())[0]

        @functools.cache
        def wanted(j: int) -> Any:
            size = self._sizes[image_of_gt[j]].tolist()
            return mask.merge(mask.frPyObjects(self._polygons.rings(int(rows[j])), *size))

        def iou(det: Ints, gt: Ints) -> Floats:
            crowd = self._crowd[rows[gt]].astype(np.uint8)
            image_of_gt.update(zip(gt.tolist(), images[det].tolist(), strict=True))
            values = np.empty(len(det))
            cuts = [*np.flatnonzero(np.diff(det, prepend=-1)).tolist(), len(det)]
            for start, stop in pairwise(cuts):
                others = [wanted(j) for j in gt[start:stop].tolist()]
                one = [detection(int(det[start]))]
                values[start:stop] = mask.iou(one, others, crowd[start:stop].tolist())[0]
            return values

        return iou


def overlaps_of(truth: GroundTruth, sizes: Ints | None) -> list[Overlap]:
    """Return the ways to compare: by boxes; for rotated ones by masks, and by exact outlines.

    Args:
        truth: the boxes to find.
        sizes: of rotated boxes int64 [n_records, 2], (height, width) of each image in pixels.
    """
    return (
        [BoxOverlap(truth)] if sizes is None else [MaskOverlap(truth, sizes), PolygonOverlap(truth)]
    )


def _outlines(truth: GroundTruth) -> Polygons:
    if truth.polygons is None:
        raise ValueError("the ground truth was read without its outlines")
    return truth.polygons


def _box_iou(a: Floats, b: Floats, crowd: NDArray[np.bool_]) -> Floats:
    """Compute the IoU of xywh boxes [n, 4]; divide by the area of `a` if `b` is a crowd.

    The operations and their order are those of bbIou in COCO's maskApi.c, so that ties are equal.
    """
    near = np.maximum(a[:, :2], b[:, :2])
    far = np.minimum(a[:, 2:] + a[:, :2], b[:, 2:] + b[:, :2])
    sides = np.maximum(far - near, 0)
    inner = sides[:, 0] * sides[:, 1]
    area_a, area_b = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    union = np.where(crowd, area_a, area_a + area_b - inner)
    iou = np.zeros(len(a))
    np.divide(inner, union, out=iou, where=inner > 0)
    return iou


def _below_edge(
    x: Floats, y: Floats, x_next: Floats, y_next: Floats, half_w: Floats, half_h: Floats
) -> Floats:
    """Compute one edge's part of `ops.rotated._covered`; all float64 [e]."""
    start, stop = np.clip(x, -half_w, half_w), np.clip(x_next, -half_w, half_w)
    run = np.where(x_next != x, x_next - x, 1.0)
    first = y + (start - x) / run * (y_next - y)
    last = y_next + (stop - x_next) / run * (y_next - y)
    low, high = np.minimum(first, last), np.maximum(first, last)
    low_in, high_in = np.clip(low, -half_h, half_h), np.clip(high, -half_h, half_h)
    inside = (high_in - low_in) * (high_in + low_in) / 2
    above = (np.maximum(high, half_h) - np.maximum(low, half_h)) * half_h
    below = (np.minimum(high, -half_h) - np.minimum(low, -half_h)) * half_h
    mean = low_in.copy()
    np.divide(inside + above - below, high - low, out=mean, where=high > low)
    part: Floats = (mean + half_h) * (stop - start)
    return part
