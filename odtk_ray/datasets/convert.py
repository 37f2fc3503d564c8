"""Converts annotation files from one convention to another, streamed: ODTK, OpenCV, le90, DOTA."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from odtk_ray import storage
from odtk_ray.datasets import dota_labels
from odtk_ray.datasets.dota_writer import write_dota
from odtk_ray.datasets.ground_truth import read_box
from odtk_ray.datasets.json_stream import JsonError, TopLevelArrayError, scan
from odtk_ray.datasets.polygons import read_rings
from odtk_ray.datasets.rotated_boxes import (
    Floats,
    corners,
    enclosing_box,
    from_opencv,
    to_le90,
    to_opencv,
)
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts
from odtk_ray.storage.writable import check_file

Convention = Literal["odtk", "opencv", "le90"]

_RESULTS = "a list of results names no images or categories: take infer's .json output, which does"


def _from_le90(boxes: Floats) -> Floats:
    return from_opencv(np.hstack([boxes[:, :4], np.degrees(boxes[:, 4:])]))


_TO_ODTK: dict[str, Callable[[Floats], Floats]] = {
    "odtk": lambda boxes: boxes,
    "opencv": from_opencv,
    "le90": _from_le90,
}
_FROM_ODTK: dict[str, Callable[[Floats], Floats]] = {
    "odtk": lambda boxes: boxes,
    "opencv": to_opencv,
    "le90": to_le90,
}


def convert(
    source: str, target: str, images: str, reads: Convention = "odtk", writes: Convention = "odtk"
) -> list[str]:
    """Convert annotations or detections.

    Args:
        source: a COCO file, or a folder of DOTA's label files.
        target: a COCO file, if the name ends in .json; otherwise a new or empty folder for DOTA's
            text: labels, or results by class if the source holds detections.
        images: folder of the images of DOTA labels, for their names and sizes.
        reads: convention of `bbox` in a COCO source; DOTA has none.
        writes: convention of `bbox` in a COCO target; DOTA has none.

    Returns:
        what was done, in words, and a line for each note about it.

    Raises:
        UsageError: something cannot be read, understood or written.
    """
    from_dota, to_dota = os.path.isdir(source), not target.endswith(".json")
    check_conflicts([NamedFile("SOURCE", source, guarded=from_dota)], [NamedFile("TARGET", target)])
    if to_dota:
        _check_folder_name(target)
    else:
        check_file(target)
    if from_dota and reads != "odtk":
        raise _without_angle("--from", reads, source)
    if to_dota and writes != "odtk":
        raise _without_angle("--to", writes, target)
    try:
        if from_dota:
            labels = dota_labels.read_labels(source, images)
            content = _Content(labels.images, labels.categories, labels.annotations())
        else:
            content = _read(source, reads)
        if to_dota:
            done = write_dota(target, content.images, content.categories, content.annotations)
        else:
            done = _write(target, content, writes)
    except JsonError as error:
        hint = _RESULTS if isinstance(error, TopLevelArrayError) else ""
        raise UsageError(
            f"{source} is not a usable COCO annotation file", str(error), hint
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot convert {source}", f"{error.filename or target}: {error.strerror or error}"
        ) from error
    notes = (
        f"note: {text}: {counted(count, 'annotation')}"
        for text, count in content.notes.items()
        if count
    )
    return [done, *notes]


def _check_folder_name(target: str) -> None:
    """Check that the name of a folder to create does not look like that of a file."""
    ending = os.path.splitext(target)[1]
    if ending and not target.endswith("/") and not os.path.isdir(target):
        raise UsageError(
            f"cannot convert to {target}",
            f"{ending} is not a format: a COCO file's name ends in .json",
            f"for a folder of DOTA's text files give a name without an ending, or {target}/",
        )


def _without_angle(flag: str, convention: Convention, path: str) -> UsageError:
    return UsageError(
        f"{flag} {convention} does not apply to {path}",
        "it is a folder of DOTA's text, which has corners and no angle",
        f"leave out {flag}; a COCO file's name ends in .json",
    )


@dataclass
class _Content:
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


_BOX_FROM_OUTLINE = "the segmentation decides, bbox is the smallest box around it"
_OUTLINE_FROM_BOX = "segmentation is not a polygon (a mask?): using the corners of bbox"


def _read(path: str, convention: Convention) -> _Content:
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
                yield from (_to_odtk(item, convention, path, notes) for item in chunk.items)

    return _Content(images, categories, annotations(), notes, others)


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


def _write(target: str, content: _Content, convention: Convention) -> str:
    images, categories = content.images, content.categories
    count = 0
    with storage.writing(target) as part, open(part, "w", encoding="utf-8") as stream:
        stream.write("{")
        for key, value in content.others.items():
            stream.write(f"{json.dumps(key)}: {json.dumps(value)},\n")
        stream.write(f'"images": {_list(images)},\n"categories": {_list(categories)},\n')
        stream.write('"annotations": [')
        for count, entry in enumerate(content.annotations, 1):
            box = _FROM_ODTK[convention](np.array([entry["bbox"]]))[0].tolist()
            stream.write((",\n" if count > 1 else "\n") + json.dumps(entry | {"bbox": box}))
        stream.write("\n]}\n")
    return f"wrote {target}: {counted(len(images), 'image')}, {counted(count, 'annotation')}"


def _list(entries: Iterable[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(map(json.dumps, entries)) + "\n]"
