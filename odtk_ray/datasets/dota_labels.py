"""Reads DOTA's label files: one file per image, four corners per line.

Source: the data set's own description, captain-whu.github.io/DOTA/dataset.html: `x1 y1 x2 y2 x3 y3
x4 y4 category difficult`, corners clockwise on the screen, after lines such as `gsd:0.3`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from odtk_ray.datasets.image_sources import IMAGE_EXTENSIONS
from odtk_ray.datasets.polygons import FARTHEST, Polygons
from odtk_ray.datasets.rotated_boxes import Floats, enclosing_box
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.images.decode_image import read_size
from odtk_ray.storage import is_text, list_files

_HEADERS = ("imagesource:", "gsd:", "acquisition dates:")


@dataclass(frozen=True)
class Labels:
    """A folder of label files, matched with their images.

    Attributes:
        files: path of each label file, sorted.
        images: COCO's `images` entries, one for each file; ids from 1.
        categories: COCO's `categories`, in alphabetical order; ids from 1.
    """

    files: list[str]
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]

    def annotations(self) -> Iterator[dict[str, Any]]:
        """Yield COCO's `annotations`, in the order of the files.

        Difficult objects become crowd regions: neither to be found nor wrong to be found.
        """
        ids = {entry["name"]: entry["id"] for entry in self.categories}
        number = 0
        for path, image in zip(self.files, self.images, strict=True):
            for points, name, difficult in _lines(path):
                number += 1
                outline = Polygons(points, np.array([0, 4]), np.array([0, 1]))
                yield {
                    "id": number,
                    "image_id": image["id"],
                    "category_id": ids[name],
                    "bbox": enclosing_box(points).tolist(),
                    "segmentation": [points.ravel().tolist()],
                    "area": float(outline.edges().area[0]),
                    "iscrowd": int(difficult),
                }


def read_labels(folder: str, images: str) -> Labels:
    """Read a folder of DOTA's label files and match it with a folder of images, by name.

    Raises:
        UsageError: there are no labels, a line cannot be understood, or a file has no image or
            several.
    """
    files = [path for path in list_files(folder, recursive=False).names if path.endswith(".txt")]
    if not files:
        raise UsageError(f"no label files in {folder}", "DOTA has a .txt file for each image")
    by_stem = _images_by_stem(images)
    paths = [os.path.join(folder, name) for name in sorted(files)]
    entries, names = [], set()
    for number, path in enumerate(paths, 1):
        image = _image_of(path, by_stem, images)
        width, height = _size(os.path.join(images, image))
        entries.append({"id": number, "file_name": image, "width": width, "height": height})
        names |= {name for _, name, _ in _lines(path)}
    categories = [{"id": n, "name": name} for n, name in enumerate(sorted(names), 1)]
    return Labels(paths, entries, categories)


def _images_by_stem(folder: str) -> dict[str, list[str]]:
    """List the images in a folder, sorted, by their name without suffix."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    with os.scandir(folder) as entries:
        for name in sorted(entry.name for entry in entries if entry.is_file()):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in IMAGE_EXTENSIONS:
                found[stem].append(name)
    return found


def _image_of(path: str, by_stem: dict[str, list[str]], images: str) -> str:
    stem = os.path.splitext(os.path.basename(path))[0]
    names = by_stem.get(stem, [])
    if not names:
        raise UsageError(
            f"there is no image for {path}", f"looked for an image {stem}.* in {images}"
        )
    if len(names) > 1:
        raise UsageError(
            f"there are several images for {path}",
            f"{' and '.join(names)} in {images}",
            "keep only the image that the labels belong to",
        )
    return names[0]


def _size(path: str) -> tuple[int, int]:
    try:
        with open(path, "rb") as stream:
            return read_size(stream, "ignore")
    except (OSError, ImageError) as error:
        raise UsageError(f"cannot read the size of {path}", str(error)) from error


def _lines(path: str) -> Iterator[tuple[Floats, str, bool]]:
    """Yield corners [4, 2], category and difficulty of each object of a label file."""
    # Bytes that are no UTF-8 stay as such, so that their line can be named.
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as stream:
        for number, line in enumerate(stream, 1):
            words = line.split()
            if not words or line.lower().startswith(_HEADERS):
                continue
            if not is_text(line):
                raise UsageError(f"{path}, line {number}, is not UTF-8", ascii(line.strip()[:80]))
            try:
                points = np.array([float(word) for word in words[:8]]).reshape(4, 2)
                difficult = bool(int(words[9])) if len(words) > 9 else False
                if not (np.abs(points) < FARTHEST).all() or not 9 <= len(words) <= 10:
                    raise ValueError
            except ValueError:
                raise UsageError(
                    f"{path}, line {number}, is not a DOTA label",
                    line.strip()[:80],
                    "x1 y1 x2 y2 x3 y3 x4 y4 category difficult",
                ) from None
            yield points, words[8], difficult
