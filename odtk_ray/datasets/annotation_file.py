"""Reads an annotation file as a whole, without its pictures: images, categories, ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odtk_ray import storage
from odtk_ray.datasets.coco_entries import (
    check_categories,
    checked_id,
    malformed,
    read_categories,
    unreadable,
)
from odtk_ray.datasets.ground_truth import Category, GroundTruth, GroundTruthBuilder, image_ranks
from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.json_stream import JsonError, scan
from odtk_ray.datasets.picture_remarks import stated_size
from odtk_ray.datasets.problems import Finding
from odtk_ray.errors import UsageError


@dataclass(frozen=True)
class AnnotatedImages:
    """The images of an annotation file, in the order of their ids.

    Attributes:
        ids: JSON texts.
        names: `file_name` of each image; empty where it has none.
        sizes: int64 [n, 2], (height, width) in pixels; 0 where the file has none.
        groups: int64 [n], images of one number belong together; each has its own by default.
    """

    ids: list[str]
    names: list[str]
    sizes: NDArray[np.int64]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class AnnotationFile:
    """The content of an annotation file.

    Attributes:
        path: the file.
        images: its images.
        categories: its categories, in its order.
        truth: what is to be found; its `image` is a position in `images`.
        findings: what is probably wrong with the annotations.
    """

    path: str
    images: AnnotatedImages
    categories: tuple[Category, ...]
    truth: GroundTruth
    findings: list[Finding]


def read_annotation_file(
    path: str, *, rotated: bool = False, group_by: str | None = None
) -> AnnotationFile:
    """Read an annotation file with its ground truth.

    Args:
        path: file or URI.
        rotated: whether outlines are to be found, not boxes.
        group_by: key of the `images` entries whose equal values make groups.

    Raises:
        UsageError: it is no COCO file with images and categories, or repeats their ids.
    """
    try:
        images, categories = _read_tables(path, group_by)
        builder = GroundTruthBuilder(
            {text: place for place, text in enumerate(images.ids)},
            {id_text(category.id): place for place, category in enumerate(categories)},
            rotated,
        )
        with storage.open_input(path) as stream:
            for chunk in scan(stream, ("annotations",)):
                builder.add(chunk.items)
    except OSError as error:
        raise unreadable(path, error) from error
    except JsonError as error:
        raise malformed(path, str(error)) from error
    return AnnotationFile(path, images, categories, builder.build(), list(builder.findings))


def _read_tables(path: str, group_by: str | None) -> tuple[AnnotatedImages, tuple[Category, ...]]:
    ids: list[str] = []
    names: list[str] = []
    sizes: list[tuple[int, int]] = []
    values: list[str] = []
    categories: list[dict[str, Any]] | None = None
    annotated = False
    with storage.open_input(path) as stream:
        for chunk in scan(stream, ("images", "categories"), note=("annotations",)):
            if not chunk.is_array:
                raise malformed(path, f"its `{chunk.key}` is not a list")
            annotated = annotated or chunk.key == "annotations"
            if chunk.key == "categories":
                categories = [*(categories or []), *read_categories(path, chunk.items)]
            for item in chunk.items if chunk.key == "images" else ():
                if not isinstance(item, dict):
                    raise malformed(path, "an entry of `images` is not an object")
                name = item.get("file_name")
                ids.append(checked_id(path, item.get("id"), f"image {json.dumps(name)}"))
                names.append(name if isinstance(name, str) else "")
                sizes.append(stated_size(item))
                values.append(_group(item, group_by))
    for found, table in ((ids, "images"), (categories, "categories"), (annotated, "annotations")):
        if not found:
            raise malformed(path, f"it has no `{table}`")
    if len(set(ids)) < len(ids):
        raise malformed(path, "two of its images have the same id")
    check_categories(path, categories or [])
    kinds = tuple(Category(c["id"], str(c.get("name", c["id"]))) for c in categories or [])
    return _sorted(ids, names, sizes, values if group_by else ids), kinds


def _group(item: dict[str, Any], key: str | None) -> str:
    if key is None:
        return ""
    if key not in item:
        raise UsageError(
            f"cannot group by {key!r}", f"image {json.dumps(item.get('id'))} has no such entry"
        )
    return json.dumps(item[key])


def _sorted(
    ids: Sequence[str],
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    values: Sequence[str],
) -> AnnotatedImages:
    """Order images by their ids, and number their groups."""
    order = np.argsort(image_ranks(ids))
    numbers: dict[str, int] = {}
    return AnnotatedImages(
        [ids[i] for i in order],
        [names[i] for i in order],
        np.array(sizes, np.int64).reshape(-1, 2)[order][:, ::-1],
        np.array([numbers.setdefault(values[i], len(numbers)) for i in order], np.int64),
    )
