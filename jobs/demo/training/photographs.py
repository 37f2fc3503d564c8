"""Photographs whose boxes are known, and parts of them.

Boxes here are edges, float64 [n, 4], x1 y1 x2 y2 between pixels: a box over pixels 3 and 4 of a
row has the edges 3 and 5, which is COCO's x and x + width. Edges can be scaled and mirrored
exactly, inclusive corners cannot.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Edges = NDArray[np.float64]
Area = tuple[float, float, float, float]  # edges

VISIBLE = 0.3  # share of a box's area inside a part from which on it belongs to the part


@dataclass(frozen=True)
class Photograph:
    """A picture whose boxes are known.

    Attributes:
        image: RGB.
        boxes: float64 [n, 4], edges.
    """

    image: Image.Image
    boxes: Edges

    def cut(self, area: tuple[int, int, int, int]) -> Photograph:
        """Cut out a part of the picture with the boxes that `clip_boxes` leaves to it."""
        return Photograph(self.image.crop(area), clip_boxes(self.boxes, area))


def read_photographs(annotations: Path, folder: Path, names: Sequence[str]) -> list[Photograph]:
    """Read some pictures of a COCO file, with all boxes of whatever category.

    Args:
        annotations: the COCO file.
        folder: of the pictures.
        names: their `file_name`s.

    Raises:
        KeyError: a name is not in the file.
        OSError: a file cannot be read.
    """
    content = json.loads(annotations.read_text(encoding="utf-8"))
    ids = {image["file_name"]: image["id"] for image in content["images"]}
    photographs = []
    for name in names:
        own = [a["bbox"] for a in content["annotations"] if a["image_id"] == ids[name]]
        xywh = np.array(own, np.float64).reshape(-1, 4)
        edges = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
        with Image.open(folder / name) as image:
            photographs.append(Photograph(image.convert("RGB"), edges))
    return photographs


def clip_boxes(boxes: Edges, area: Area) -> Edges:
    """Return the boxes of an area, cut off at its edges and relative to its corner.

    A box belongs to it when at least `VISIBLE` of its own area lies inside.

    Args:
        boxes: float64 [n, 4], edges, with sides greater than 0.
        area: edges.

    Returns:
        float64 [m, 4], edges, in the order of `boxes`.
    """
    low, high = np.tile(area[:2], 2), np.tile(area[2:], 2)
    inside = np.clip(boxes, low, high)
    share = _sizes(inside) / _sizes(boxes)
    clipped: Edges = inside[share >= VISIBLE] - low
    return clipped


def _sizes(boxes: Edges) -> NDArray[np.float64]:
    sizes: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return sizes
