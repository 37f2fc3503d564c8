"""What an annotation file's ground truth lacks, in words."""

from __future__ import annotations

from odtk_ray.datasets.ground_truth import FAR, GroundTruthBuilder
from odtk_ray.plural import counted

_HAS = "annotation has", "annotations have"


def truth_remarks(builder: GroundTruthBuilder, others: int) -> list[str]:
    """Say what was left out, or replaced, when ground truth was read.

    Args:
        builder: has counted it.
        others: entries of `annotations` that are no objects.
    """
    first_malformed, first_far = builder.first_malformed, builder.first_far
    rows = [
        (others, "entry of `annotations` is no object", "entries of `annotations` are no objects",
         ""),
        (builder.unknown_categories, *_HAS, " an unknown category_id"),
        (builder.malformed_boxes, *_HAS, f" no valid bbox (first: id {first_malformed})"),
        (builder.turned_boxes, "bbox has five numbers and is left out: this is a rotated box",
         "bboxes have five numbers and are left out: these are rotated boxes",
         ", and the model's are axis-aligned"),
        (builder.far_outlines, f"annotation reaches beyond {FAR:,} pixels and is left out",
         f"annotations reach beyond {FAR:,} pixels and are left out",
         f" (first: id {first_far}): such coordinates should be mended"),
        (builder.missing_areas, *_HAS, " no area: width * height counts"),
        (builder.missing_outlines, *_HAS, " no segmentation of polygons: the corners of the bbox "
         "count, theta clockwise"),
        (builder.missing_angles, "of these bboxes has", "of these bboxes have",
         " no theta: 0 counts"),
        (builder.nested_outlines, "segmentation is a list of points: read as a polygon",
         "segmentations are lists of points: read as polygons", ""),
    ]  # fmt: skip
    return [counted(count, one, many) + rest for count, one, many, rest in rows if count]
