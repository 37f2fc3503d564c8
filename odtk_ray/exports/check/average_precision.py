"""Measures the loss of average precision by an export, on annotated images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from odtk_ray.artifacts.exported_model import ExportedModel
from odtk_ray.datasets.classes import map_classes
from odtk_ray.datasets.coco import read_coco, read_truth
from odtk_ray.datasets.ground_truth import Category, GroundTruth, image_ranks
from odtk_ray.datasets.ids import id_text
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.evaluation.coco_evaluator import CocoEvaluator
from odtk_ray.evaluation.overlap import BoxOverlap, PolygonOverlap
from odtk_ray.exports.check.compare_detections import PICTURES, PictureDetector, reference_name
from odtk_ray.images.decode_image import Picture, load_picture
from odtk_ray.images.image_file import read_image_file
from odtk_ray.plural import counted
from odtk_ray.records import Detections, to_bbox
from odtk_ray.settings import Preprocessing

IMAGES = 200  # evaluated at most
LEAST_KEPT = 0.985  # share of the AP; below it the check warns


@dataclass(frozen=True)
class Accuracy:
    """AP (COCO's, IoU 0.50 to 0.95) of the same images, network input and post-processing.

    Attributes:
        images: how many were evaluated.
        exported: of the exported model.
        reference: AP of the reference model; None if that cannot run here.
        name: of the reference, such as `PyTorch`.
        rotated: whether it is that of exact polygons.
    """

    images: int
    exported: float
    reference: float | None = None
    name: str = ""
    rotated: bool = False

    @property
    def kept(self) -> float:
        """Share of the reference's AP; 1 if that is 0 or unknown."""
        return self.exported / self.reference if self.reference else 1.0

    def line(self) -> str:
        """Format the result for people."""
        if not self.images:
            return "AP is not known: none of the annotated images can be read on this machine"
        kind = "AP by exact polygons" if self.rotated else "AP"
        text = f"{kind} on {counted(self.images, 'annotated image')}: {self.exported:.4f}"
        if self.reference is None:
            return text
        change = f"{self.kept - 1:+.1%}" if self.reference > 0 else "nothing found to compare"
        return f"{text}, {self.name} {self.reference:.4f} ({change})"


@dataclass(frozen=True)
class AnnotatedImages:
    """Annotated images to measure average precision on.

    Attributes:
        ids: JSON text of each image's id.
        paths: of their files.
        categories: of the annotation file.
        truth: the ground truth boxes.
        positions: int32 [C], the place in `categories` of each class of the model.
    """

    ids: list[str]
    paths: list[str]
    categories: list[Category]
    truth: GroundTruth
    positions: NDArray[np.int32]


def read_annotated(annotations: str, images: str, about: ExportedModel) -> AnnotatedImages:
    """Read the images and annotations that AP is measured on, before anything is built.

    Args:
        annotations: COCO file with ground truth; images that are missing are left out.
        images: folder or URI of the files.
        about: the exported model's description.

    Raises:
        UsageError: the annotations cannot be used, have no ground truth, or no image is there.
    """
    dataset = read_coco(annotations, images, allow_missing=True, limit=IMAGES)
    if not dataset.has_truth or not dataset.categories:
        raise UsageError(f"{annotations} has no ground truth to compare AP with")
    ids: list[str] = dataset.records["image_id"].to_pylist()
    paths: list[str] = dataset.records["path"].to_pylist()
    categories = [Category(c["id"], str(c.get("name", c["id"])))  # type: ignore[arg-type]
                  for c in dataset.categories]  # fmt: skip
    truth, _ = read_truth(
        annotations,
        {text: index for index, text in enumerate(ids)},
        {id_text(category.id): i for i, category in enumerate(categories)},
        about.rotated,
    )
    if next(_pictures(paths, about.size), None) is None:
        raise UsageError(f"none of the images of {annotations} can be used", f"in {images}")
    classes = map_classes(
        about.classes, about.class_names, about.category_ids, dataset.categories, dataset.used
    )
    return AnnotatedImages(ids, paths, categories, truth, np.array(classes.positions, np.int32))


def measure_accuracy(
    exported: PictureDetector,
    reference: PictureDetector | None,
    about: ExportedModel,
    annotated: AnnotatedImages,
) -> Accuracy:
    """Evaluate an exported model and its reference on the same pictures.

    Rotated boxes are compared by their exact polygons: pixels of masks would hide small changes.

    Args:
        exported: takes at least `PICTURES` pictures at once.
        reference: likewise; None where there is nothing to compare with.
        about: the exported model's description.
        annotated: of `read_annotated`; images that cannot be decoded are left out.
    """
    engines = [exported] if reference is None else [exported, reference]
    truth, ranks = annotated.truth, image_ranks(annotated.ids)
    overlap = PolygonOverlap(truth) if about.rotated else BoxOverlap(truth)
    evaluators = [CocoEvaluator(truth, annotated.categories, ranks, overlap) for _ in engines]
    pictures = _pictures(annotated.paths, about.size)
    count = 0
    while some := list(itertools.islice(pictures, PICTURES)):
        count += len(some)
        for engine, evaluator in zip(engines, evaluators, strict=True):
            rows = engine.detect([picture.pixels for _, picture in some], about.size)
            for (index, picture), row in zip(some, rows, strict=True):
                _add(evaluator, index, picture, row, annotated.positions)
    found, *others = [max(evaluator.result().stats["AP"], 0.0) for evaluator in evaluators]
    if reference is None or not count:
        return Accuracy(count, found, rotated=about.rotated)
    return Accuracy(count, found, others[0], reference_name(reference), about.rotated)


def _pictures(paths: list[str], size: tuple[int, int]) -> Iterator[tuple[int, Picture]]:
    """Yield record index and picture, without images that cannot be decoded."""
    prep = Preprocessing(fit=size)
    for index, path in enumerate(paths):
        try:
            picture = load_picture(read_image_file(path, prep), prep)
        except (ImageError, OSError):
            continue
        yield index, picture


def _add(
    evaluator: CocoEvaluator,
    index: int,
    picture: Picture,
    found: Detections,
    positions: NDArray[np.int32],
) -> None:
    boxes_img = found.boxes.copy()
    boxes_img[:, :4] /= np.float32(picture.ratio)
    finite = np.isfinite(boxes_img).all(axis=1)  # others match no ground truth
    evaluator.add(
        np.array([index]),
        np.array([finite.sum()]),
        found.scores[finite].astype(np.float64),
        positions[found.classes[finite]],
        to_bbox(boxes_img[finite]),
    )
