"""Analyses detections as they come: COCO's figures, and what each detection is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from odtk_ray.datasets.ground_truth import Category, GroundTruth
from odtk_ray.evaluation.analysis import Analysis, Goal
from odtk_ray.evaluation.coco_evaluator import CocoEvaluator
from odtk_ray.evaluation.detection_errors import Found, explain
from odtk_ray.evaluation.matching import Floats, Ints
from odtk_ray.evaluation.overlap import Overlap
from odtk_ray.evaluation.summary import FACTS, Collected, summarise

# Images analysed at a time: their pairs of detections and boxes are compared at once.
_SLICE = 256


class Analyser:
    """Analyses detections chunk by chunk.

    It keeps 30 bytes of a detection besides the 29 of `CocoEvaluator`. Images that are never added
    do not count, nor does their ground truth.

    Args:
        truth: the boxes to find.
        categories: the file's `categories`, in its order.
        image_rank: int64 [n_records], position of each image when the ids are sorted; equal scores
            are ordered by it.
        overlaps: how detections are compared with the truth: one way, or that of ODTK's masks and
            that of exact outlines, which counts for all but the first table.
        goal: what the threshold of each class is chosen for.
    """

    def __init__(
        self,
        truth: GroundTruth,
        categories: Sequence[Category],
        image_rank: Ints,
        overlaps: Sequence[Overlap],
        goal: Goal | None = None,
    ) -> None:
        self._truth, self._categories = truth, tuple(categories)
        self._image_rank, self._goal = image_rank, goal or Goal()
        self._overlap = overlaps[-1]
        self._evaluators = [
            CocoEvaluator(truth, categories, image_rank, overlap) for overlap in overlaps
        ]
        self._seen = np.zeros(len(image_rank), np.bool_)
        self._parts: list[NDArray[np.void]] = []
        self._pairs: list[tuple[Ints, Ints, Floats]] = []
        self._count = 0

    def add(
        self,
        images: Ints,
        counts: Ints,
        scores: Floats,
        classes_category: NDArray[np.int32],
        bbox: Floats,
    ) -> None:
        """Analyse some images, including images without detections.

        Args:
            images: int64 [m], record indices, each once in the whole evaluation.
            counts: int64 [m], number of detections of each image.
            scores: float64 [k], the detections of all images one after the other.
            classes_category: int32 [k], positions in `categories`; others do not count.
            bbox: float64 [k, 4], xywh, pixels of the original image; [k, 5] with theta where the
                boxes are rotated.

        Raises:
            ValueError: the lengths disagree, or an image was added before.
        """
        ends = np.concatenate([[0], np.cumsum(counts)])
        for start in range(0, len(images), _SLICE):
            few = slice(start, start + _SLICE)
            rows = slice(ends[start], ends[min(start + _SLICE, len(images))])
            self._add(images[few], counts[few], scores[rows], classes_category[rows], bbox[rows])

    def _add(
        self,
        images: Ints,
        counts: Ints,
        scores: Floats,
        categories: NDArray[np.int32],
        bbox: Floats,
    ) -> None:
        for evaluator in self._evaluators:
            matched = evaluator.add(images, counts, scores, categories, bbox)
        self._seen[images] = True
        found = Found(images, np.repeat(np.arange(len(images)), counts), scores, categories, bbox)
        explained = explain(found, matched, self._truth, self._overlap)
        part = np.empty(len(scores), FACTS)
        part["score"], part["category"] = scores, categories
        part["image"] = images[found.owner]
        part["status"], part["box"] = explained.status, explained.box
        part["iou"], part["fixes"] = explained.iou, explained.fixes
        part["area"] = bbox[:, 2] * bbox[:, 3]
        self._parts.append(part)
        det, gt, iou = explained.pairs
        self._pairs.append((det + self._count, gt, iou))
        self._count += len(scores)

    def _facts(self) -> NDArray[np.void]:
        """Join the parts; each is freed when it has been copied."""
        facts = np.empty(self._count, FACTS)
        end = self._count
        while self._parts:
            part = self._parts.pop()
            facts[end - len(part) : end] = part
            end -= len(part)
        self._parts = [facts]
        return facts

    def result(self) -> Analysis:
        """Return the analysis of the images added so far."""
        none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        columns = zip(none, *self._pairs, strict=True)
        collected = Collected(
            facts=self._facts(),
            pairs=tuple(np.concatenate(column) for column in columns),  # type: ignore[arg-type]
            truth=self._truth,
            seen=self._seen,
            image_rank=self._image_rank,
            categories=self._categories,
        )
        results = [evaluator.result() for evaluator in self._evaluators]
        exact = results[1] if len(results) > 1 else None
        return summarise(collected, results[0], exact, self._goal)
