"""Writes DOTA's text files: labels, one file per image, or results, one file per class."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from odtk_ray.datasets.ground_truth import read_number
from odtk_ray.datasets.ids import id_text
from odtk_ray.datasets.rotated_boxes import Floats, corners, enclosing_box
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.storage import is_text

_NO_WORD = re.compile(r"[\s\0]")  # words of a line end at white space, and no file name has a zero
_BUFFERED = 100_000  # lines of text kept before they are added to their files


def write_dota(
    target: str,
    images: Iterable[dict[str, Any]],
    categories: Iterable[dict[str, Any]],
    annotations: Iterable[dict[str, Any]],
) -> str:
    """Write COCO's entries as DOTA's labels, or as results by class if they are detections.

    Args:
        target: folder, new or empty.
        images: COCO's `images`; their names without folder and suffix are those of the labels.
        categories: COCO's `categories`; if there are none, ids take the place of names.
        annotations: COCO's `annotations`, each with a `segmentation` of rings; read once.

    Returns:
        what was written, in words.

    Raises:
        UsageError: the folder is not empty, or the entries cannot be said in DOTA's words.
        OSError: a file cannot be written.
    """
    names = _image_names(images)
    classes = _class_names(categories)
    os.makedirs(target, exist_ok=True)
    if os.listdir(target):
        raise UsageError(f"{target} is not empty", "DOTA's files are added to, line by line")
    lines: defaultdict[str, list[str]] = defaultdict(list)
    count, found = 0, False
    for count, entry in enumerate(annotations, 1):
        if count > 1 and found != ("score" in entry):
            raise _mixed(entry)
        found = "score" in entry
        name, line = object_line(entry, _image_of(entry, names), _class_of(entry, classes))
        lines[name].append(line)
        if count % _BUFFERED == 0:
            _append(target, lines)
    if not found:  # an image without objects has an empty file
        for name in names.values():
            lines[f"{name}.txt"] += []
    _append(target, lines)
    files, kind = counted(len(os.listdir(target)), "file"), "detection" if found else "label"
    return f"wrote {files} to {target}: {counted(count, kind)}"


def _image_names(images: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Map the JSON text of each image's id to its name without folder and suffix."""
    names: dict[str, str] = {}
    files: dict[str, str] = {}
    for entry in images:
        file = entry.get("file_name")
        name = os.path.splitext(os.path.basename(file))[0] if isinstance(file, str) else ""
        if not isinstance(file, str) or not name or "\0" in name or not is_text(name):
            raise UsageError(f"image {entry.get('id')} has no usable file_name", json.dumps(file))
        _claim(files, name, file, "folder and suffix are left out")
        names[id_text(entry.get("id"))] = name
    return names


def _class_names(categories: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Map the JSON text of each class's id to the name that DOTA uses, one word."""
    names: dict[str, str] = {}
    originals: dict[str, str] = {}
    for entry in categories:
        original = str(entry.get("name", entry.get("id")))
        name = _class_name(original)
        _claim(originals, name, f"class {original}", "spaces become -")
        names[id_text(entry.get("id"))] = name
    return names


def _claim(taken: dict[str, str], name: str, original: str, rule: str) -> None:
    """Reserve a DOTA name for an original name, unless another one has it already."""
    if name in taken:
        raise UsageError(
            f"{taken[name]} and {original} would have the same name in DOTA",
            f"{rule}, so that both would be {name}",
            "rename one of them, or convert the file in parts",
        )
    taken[name] = original


def _class_name(original: str) -> str:
    name = original.replace(" ", "-")
    if not name or _NO_WORD.search(name) or not is_text(name):
        raise UsageError(
            f"{json.dumps(original)} cannot be a class in DOTA",
            "a class is one word; spaces become -, other white space is not possible",
            "rename the category",
        )
    return name


def _mixed(annotation: dict[str, Any]) -> UsageError:
    return UsageError(
        "some annotations have a score and some have none",
        f"the first that differs has the id {annotation.get('id')}",
        "DOTA keeps detections and labels in separate folders: convert them separately",
    )


def _image_of(annotation: dict[str, Any], names: dict[str, str]) -> str:
    name = names.get(id_text(annotation.get("image_id")))
    if name is None:
        raise UsageError(f"annotation {annotation.get('id')} belongs to no image of the file")
    return name


def _class_of(annotation: dict[str, Any], classes: dict[str, str]) -> str:
    """Return the name of an annotation's class; its `category_id` if the file has no categories."""
    category = annotation.get("category_id")
    if not classes and isinstance(category, int | str):
        return _class_name(str(category))
    name = classes.get(id_text(category))
    if name is None:
        raise UsageError(f"annotation {annotation.get('id')} belongs to no category of the file")
    return name


def _append(folder: str, lines: dict[str, list[str]]) -> None:
    for name, some in lines.items():
        with open(os.path.join(folder, name), "a", encoding="utf-8") as stream:
            stream.writelines(some)
    lines.clear()


def object_line(annotation: dict[str, Any], image: str, category: str) -> tuple[str, str]:
    """Format one COCO annotation or detection as DOTA does, in thousandths of a pixel.

    Args:
        annotation: with `segmentation`, a list of rings [x1, y1, x2, y2, ...]; with `score` it is
            a detection.
        image: name of its image, without suffix.
        category: name of its class, one word.

    Returns:
        name of the file that the line belongs to, and the line.

    Raises:
        UsageError: a detection's score is no number, or its names cannot stand in results.
    """
    corner = _quadrilateral(annotation["segmentation"])
    points = " ".join(f"{value:.3f}" for value in corner.ravel())
    if "score" not in annotation:
        return f"{image}.txt", f"{points} {category} {int(bool(annotation.get('iscrowd')))}\n"
    score = annotation["score"]
    if read_number(score) is None:
        raise UsageError(
            f"annotation {annotation.get('id')} has no usable score", json.dumps(score)[:80]
        )
    if _NO_WORD.search(image):
        raise UsageError(
            f"the image {json.dumps(image)} cannot be written to DOTA's results",
            "an image's name is one word there",
            "rename it, without white space",
        )
    if "/" in category:
        raise UsageError(
            f"the class {category} cannot have results in DOTA",
            "they go to a file with the class's name, which cannot contain /",
            "rename the category",
        )
    return f"Task1_{category}.txt", f"{image} {score} {points}\n"


def _quadrilateral(rings: list[list[float]]) -> Floats:
    """Return four corners, [4, 2], clockwise on the screen; enclose other outlines by a box."""
    points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in rings])
    if len(points) != 4:
        points = corners(enclosing_box(points)[None])[0]
    x, y = points.T
    signed = np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
    # y is down, so a positive area goes clockwise; the first corner stays the first.
    return points if signed >= 0 else np.roll(points[::-1], 1, axis=0)
