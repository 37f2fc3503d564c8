"""Converts annotations and detections, streamed: ODTK, OpenCV, le90, DOTA, and other programs'."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from odtk_ray import storage
from odtk_ray.datasets import dota_labels
from odtk_ray.datasets.coco_content import Content, Convention, read_content
from odtk_ray.datasets.cvat import write_cvat
from odtk_ray.datasets.dota_writer import write_dota
from odtk_ray.datasets.geojson import Crs, write_geojson
from odtk_ray.datasets.image_boxes import BoxReader
from odtk_ray.datasets.json_stream import JsonError, TopLevelArrayError
from odtk_ray.datasets.label_studio import write_label_studio
from odtk_ray.datasets.rotated_boxes import Floats, corners, to_le90, to_opencv
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.storage.file_conflicts import NamedFile, check_conflicts
from odtk_ray.storage.writable import check_file

Format = Literal["coco", "dota", "labelstudio", "cvat", "geojson"]
TargetConvention = Literal["odtk", "opencv", "le90", "coco"]

_ENDINGS: dict[Format, str] = {
    "coco": ".json",
    "cvat": ".xml",
    "geojson": ".geojson",
    "labelstudio": ".json",
}
_RESULTS = "a list of results names no images or categories: take infer's .json output, which does"


def _to_coco(boxes: Floats) -> Floats:
    """Return the x, y, w, h around boxes; w and h count both end pixels, as everywhere."""
    outline = corners(boxes)
    low, high = outline.min(axis=1), outline.max(axis=1)
    return np.hstack([low, high - low + 1])


_FROM_ODTK: dict[TargetConvention, Callable[[Floats], Floats]] = {
    "odtk": lambda boxes: boxes,
    "opencv": to_opencv,
    "le90": to_le90,
    "coco": _to_coco,
}


@dataclass(frozen=True)
class Conversion:
    """What to convert, and how.

    Attributes:
        source: a COCO file, or a folder of DOTA's label files.
        target: file, or new or empty folder for DOTA's text: labels, or results by class if the
            source holds detections.
        images: folder of the images of DOTA's labels, for their names and sizes, and of GeoTIFFs;
            for Label Studio what stands before the names of images, nothing if it is `.`.
        format: of the target; None goes by its name.
        reads: convention of `bbox` in a COCO source; DOTA has none.
        writes: convention of `bbox` in a COCO target; the others have none.
        crs: coordinates of GeoJSON.
    """

    source: str
    target: str
    images: str = "."
    format: Format | None = None
    reads: Convention = "odtk"
    writes: TargetConvention = "odtk"
    crs: Crs = "wgs84"

    @property
    def kind(self) -> Format:
        """The target's format."""
        if self.format is not None:
            return self.format
        by_ending: dict[str, Format] = {".json": "coco", ".xml": "cvat", ".geojson": "geojson"}
        return by_ending.get(os.path.splitext(self.target)[1], "dota")


def convert(conversion: Conversion) -> list[str]:
    """Convert annotations or detections.

    Returns:
        what was done, in words, and a line for each note about it.

    Raises:
        UsageError: something cannot be read, understood or written.
    """
    source, target = conversion.source, conversion.target
    from_dota = os.path.isdir(source)
    _check(conversion, from_dota)
    try:
        if from_dota:
            labels = dota_labels.read_labels(source, conversion.images)
            content = Content(labels.images, labels.categories, labels.annotations())
        else:
            content = read_content(source, conversion.reads)
        done, left_out = _write(conversion, content)
    except JsonError as error:
        hint = _RESULTS if isinstance(error, TopLevelArrayError) else ""
        raise UsageError(
            f"{source} is not a usable COCO annotation file", str(error), hint
        ) from error
    except OSError as error:
        raise UsageError(
            f"cannot convert {source}", f"{error.filename or target}: {error.strerror or error}"
        ) from error
    notes = [
        f"note: {text}: {counted(count, 'annotation')}"
        for text, count in content.notes.items()
        if count
    ]
    if left_out:
        images, boxes = (
            counted(len(left_out), "image"),
            counted(sum(left_out.values()), "box", "boxes"),
        )
        notes.append(f"note: {images} with {boxes} left out, first {next(iter(left_out))}")
    return [done, *notes]


def _check(conversion: Conversion, from_dota: bool) -> None:
    """Check, before anything is read, that the options fit together and the target can be written.

    Raises:
        UsageError: otherwise.
    """
    source, target, kind = conversion.source, conversion.target, conversion.kind
    check_conflicts([NamedFile("SOURCE", source, guarded=from_dota)], [NamedFile("TARGET", target)])
    if kind == "dota":
        _check_folder_name(target)
    else:
        if not target.endswith(_ENDINGS[kind]):
            raise UsageError(
                f"cannot write {target} as {kind}", f"its name does not end in {_ENDINGS[kind]}"
            )
        check_file(target)
    if from_dota and conversion.reads != "odtk":
        raise _without_angle("--from", conversion.reads, source)
    if kind == "dota" and conversion.writes != "odtk":
        raise _without_angle("--to", conversion.writes, target)
    if kind != "coco" and conversion.writes != "odtk":
        raise UsageError(f"--to is for COCO files, and {target} is none")
    if kind != "geojson" and conversion.crs != "wgs84":
        raise UsageError(f"--crs is for GeoJSON, and {target} is none")


def _write(conversion: Conversion, content: Content) -> tuple[str, Counter[str]]:
    """Write the target; return what was written, and why images were left out, with their boxes."""
    target, kind = conversion.target, conversion.kind
    if kind == "geojson":
        boxes = BoxReader(content).in_file_order()
        return write_geojson(target, boxes, conversion.images, conversion.crs)
    if kind == "dota":
        done = write_dota(target, content.images, content.categories, content.annotations)
    elif kind == "cvat":
        reader = BoxReader(content)
        done = write_cvat(target, reader.by_image(), reader.names)
    elif kind == "labelstudio":
        prefix = "" if conversion.images == "." else conversion.images
        done = write_label_studio(target, BoxReader(content).by_image(), prefix)
    else:
        done = _write_coco(target, content, conversion.writes)
    return done, Counter()


def _check_folder_name(target: str) -> None:
    """Check that the name of a folder to create does not look like that of a file."""
    ending = os.path.splitext(target)[1]
    if ending and not target.endswith("/") and not os.path.isdir(target):
        raise UsageError(
            f"cannot convert to {target}",
            f"{ending} is not a format: names of files end in .json, .xml or .geojson",
            f"for a folder of DOTA's text files give a name without an ending, or {target}/",
        )


def _without_angle(flag: str, convention: TargetConvention, path: str) -> UsageError:
    return UsageError(
        f"{flag} {convention} does not apply to {path}",
        "it is a folder of DOTA's text, which has corners and no angle",
        f"leave out {flag}; a COCO file's name ends in .json",
    )


def _write_coco(target: str, content: Content, convention: TargetConvention) -> str:
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
