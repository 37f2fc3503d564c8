"""Reads COCO files to convert them: boxes in ODTK's convention, outlines beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from odtk_ray import storage
from odtk_ray.datasets.ground_truth import read_box, read_number
from odtk_ray.datasets.json_stream import scan
from odtk_ray.datasets.polygons import read_rings
from odtk_ray.datasets.rotated_boxes import Floats, corners, enclosing_box, from_opencv
from odtk_ray.errors import UsageError

Convention = Literal["odtk", "opencv", "le90"]


def _from_le90(boxes: Floats) -> Floats:
    return from_opencv(np.hstack([boxes[:, :4], np.degrees(boxes[:, 4:])]))


_TO_ODTK: dict[str, Callable[[Floats], Floats]] = {
    "odtk": lambda boxes: boxes,
    "opencv": from_opencv,
    "le90": _from_le90,
}


@dataclass
class Content:
    """The content of a source file or folder.

    Attributes:
        images: COCO's `images`.
        categories: COCO's `categories`.
        annotations: COCO's `annotations`, to be read once: `bbox` of five numbers in ODTK's
            convention, `segmentation` of rings.
        notes: how many annotations were completed, by the words for how; counted as they are read.
        others: what else stands at the top level, such as `info` and `licenses`, as it is.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    annotations: Iterator[dict[str, Any]]
    notes: Counter[str] = field(default_factory=Counter)
    others: dict[str, Any] = field(default_factory=dict)


_OUTSIDE = "detections outside the picture, with negative sides, are left out"
_BOX_FROM_OUTLINE = "the segmentation decides, bbox is the smallest box around it"
_OUTLINE_FROM_BOX = "segmentation is not a polygon (a mask?): using the corners of bbox"


def read_content(path: str, convention: Convention) -> Content:
    """Read a COCO file; its annotations are streamed when they are asked for.

    Args:
        path: of the file, local or a URI.
        convention: of its `bbox`.

    Raises:
        UsageError: `images`, `categories` or `annotations` are not lists of objects.
        JsonError: it is no JSON object.
        OSError: it cannot be read.
    """
    others: dict[str, Any] = {}
    with storage.open_input(path) as stream:
        for chunk in scan(stream, None, note=("annotations",)):
            if chunk.key == "annotations":
                if not chunk.is_array:
                    raise _no_list(path, chunk.key)
            elif chunk.is_array:
                others.setdefault(chunk.key, []).extend(chunk.items)
            else:
                others[chunk.key] = chunk.items[0]
    images, categories = (_table(path, others, name) for name in ("images", "categories"))
    notes: Counter[str] = Counter()

    def annotations() -> Iterator[dict[str, Any]]:
        with storage.open_input(path) as stream:
            for chunk in scan(stream, ("annotations",)):
                for item in chunk.items:
                    if _is_outside(item):
                        notes[_OUTSIDE] += 1
                    else:
                        yield _to_odtk(item, convention, path, notes)

    return Content(images, categories, annotations(), notes, others)


def _table(path: str, document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Take a list of objects out of a document; an empty one where there is none."""
    entries = document.pop(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _no_list(path, name)
    return entries


def _no_list(path: str, key: str) -> UsageError:
    return UsageError(
        f"{path} is not a usable COCO annotation file", f"its `{key}` is not a list of objects"
    )


def _is_outside(entry: Any) -> bool:
    """Return whether an entry is a detection whose sides are negative.

    A detector clamps boxes to the picture: those of what it found beyond the border end before they
    begin. ODTK writes them, and so does `infer`.
    """
    if not isinstance(entry, dict) or "score" not in entry:
        return False
    box = entry.get("bbox")
    sides = [read_number(value) for value in box[2:4]] if isinstance(box, list) else []
    return any(side is not None and side < 0 for side in sides)


def _to_odtk(entry: Any, convention: Convention, path: str, notes: Counter[str]) -> dict[str, Any]:
    """Return an annotation with `bbox`, in ODTK's convention, and `segmentation`.

    As in an evaluation the segmentation decides where a bbox has no angle, or cannot be read.
    """
    if not isinstance(entry, dict):
        raise _no_list(path, "annotations")
    given, segmentation = entry.get("bbox"), entry.get("segmentation")
    box, rings = read_box(given), read_rings(segmentation)
    five = isinstance(given, list) and len(given) == 5
    if rings is not None and (box is None or not five):
        notes[_BOX_FROM_OUTLINE] += 1
        turned = enclosing_box(np.concatenate([np.reshape(ring, (-1, 2)) for ring in rings]))
    elif box is not None:
        turned = _TO_ODTK[convention](np.array([box]))[0]
    else:
        raise UsageError(
            f"annotation {entry.get('id')} of {path} has no usable bbox and no segmentation",
            f"{json.dumps(given)[:80]} is not (x, y, w, h, angle)",
        )
    if rings is None:
        notes[_OUTLINE_FROM_BOX] += bool(segmentation)
        rings = corners(turned[None]).reshape(1, 8).tolist()
    return entry | {"bbox": turned.tolist(), "segmentation": rings}
