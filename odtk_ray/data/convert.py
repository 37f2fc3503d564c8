"""Annotation files from one convention to another, streamed: ODTK, OpenCV, le90, DOTA."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np

from odtk_ray.data import dota, storage
from odtk_ray.data.dota_writer import write_dota
from odtk_ray.data.jsonstream import JsonError, scan
from odtk_ray.data.rotated import Floats, corners, from_opencv, to_le90, to_opencv
from odtk_ray.errors import UsageError
from odtk_ray.results.polygons import read_rings
from odtk_ray.results.truth import read_box

Convention = Literal["odtk", "opencv", "le90"]


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
) -> str:
    """Convert annotations or detections.

    Args:
        source: a COCO file, or a folder of DOTA's label files.
        target: a COCO file, if the name ends in .json; otherwise a new or empty folder for DOTA's
            text: labels, or results by class if the source holds detections.
        images: folder of the images of DOTA labels, for their names and sizes.
        reads: convention of `bbox` in a COCO source; DOTA has none.
        writes: convention of `bbox` in a COCO target; DOTA has none.

    Returns:
        what was done, in words.

    Raises:
        UsageError: something cannot be read, understood or written.
    """
    from_dota, to_dota = os.path.isdir(source), not target.endswith(".json")
    if from_dota and reads != "odtk":
        raise _without_angle("--from", reads, source)
    if to_dota and writes != "odtk":
        raise _without_angle("--to", writes, target)
    try:
        if from_dota:
            labels = dota.read_labels(source, images)
            content: _Content = (labels.images, labels.categories, labels.annotations())
        else:
            content = _read(source, reads)
        if to_dota:
            return write_dota(target, *content)
        return _write(target, content, writes)
    except JsonError as error:
        raise UsageError(f"{source} is no usable COCO annotation file", str(error)) from error
    except OSError as error:
        raise UsageError(
            f"cannot convert {source}", f"{error.filename or target}: {error.strerror or error}"
        ) from error


def _without_angle(flag: str, convention: Convention, path: str) -> UsageError:
    return UsageError(
        f"{flag} {convention} says nothing about {path}",
        "it is a folder of DOTA's text, which has corners and no angle",
        f"leave {flag} away; a COCO file's name ends in .json",
    )


# `images`, `categories`, and `annotations` in ODTK's convention, which are read but once.
_Content = tuple[list[dict[str, Any]], list[dict[str, Any]], Iterator[dict[str, Any]]]


def _read(path: str, convention: Convention) -> _Content:
    tables: dict[str, list[dict[str, Any]]] = {"images": [], "categories": []}
    with storage.open_input(path) as stream:
        for chunk in scan(stream, tuple(tables)):
            tables[chunk.key] += [item for item in chunk.items if isinstance(item, dict)]

    def annotations() -> Iterator[dict[str, Any]]:
        with storage.open_input(path) as stream:
            for chunk in scan(stream, ("annotations",)):
                yield from (_to_odtk(item, convention, path) for item in chunk.items)

    return tables["images"], tables["categories"], annotations()


def _to_odtk(annotation: Any, convention: Convention, path: str) -> dict[str, Any]:
    """An annotation in ODTK's convention; without an outline it gets the corners of its box."""
    entry = annotation if isinstance(annotation, dict) else {}
    box = read_box(entry.get("bbox"))
    if box is None:
        raise UsageError(
            f"annotation {entry.get('id')} of {path} has no usable bbox",
            f"{json.dumps(entry.get('bbox'))[:80]} is not (x, y, w, h, angle)",
        )
    turned = _TO_ODTK[convention](np.array([box]))
    if read_rings(entry.get("segmentation")) is None:
        entry = entry | {"segmentation": corners(turned).reshape(1, 8).tolist()}
    return entry | {"bbox": turned[0].tolist()}


def _write(target: str, content: _Content, convention: Convention) -> str:
    images, categories, annotations = content
    part, count = f"{target}.{os.getpid()}.tmp", 0
    try:
        with open(part, "w", encoding="utf-8") as stream:
            stream.write(f'{{"images": {_list(images)},\n"categories": {_list(categories)},\n')
            stream.write('"annotations": [')
            for count, entry in enumerate(annotations, 1):
                box = _FROM_ODTK[convention](np.array([entry["bbox"]]))[0].tolist()
                stream.write((",\n" if count > 1 else "\n") + json.dumps(entry | {"bbox": box}))
            stream.write("\n]}\n")
        os.replace(part, target)
    finally:
        if os.path.exists(part):
            os.unlink(part)
    return f"wrote {target}: {len(images):,} images, {count:,} annotations"


def _list(entries: Iterable[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(map(json.dumps, entries)) + "\n]"
