"""Writes Label Studio's tasks with predictions.

Source: labelstud.io/guide/predictions: a list of tasks, `data.image`, `predictions` with `result`s
of type rectanglelabels; x, y, width and height in percent of the picture; rotation in degrees,
clockwise about the top left corner, which x and y are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import numpy as np

from odtk_ray import storage
from odtk_ray.datasets.image_boxes import ImageBoxes, outlines
from odtk_ray.plural import counted

_MODEL = "odtk-ray"


def write_label_studio(target: str, images: Iterable[ImageBoxes], prefix: str) -> str:
    """Write a task for each image, also for those without boxes.

    Args:
        target: file to write.
        images: the boxes by image.
        prefix: what stands before the file names in `data.image`, such as
            `/data/local-files/?d=photos`; names follow a `/` (or a `=`), quoted as in URLs. If it
            is empty they stay as they are.

    Returns:
        what was written, in words.

    Raises:
        UsageError: an image with boxes has no size.
        OSError: the file cannot be written.
    """
    tasks = found = 0
    with storage.writing(target) as part, open(part, "w", encoding="utf-8") as stream:
        for tasks, image in enumerate(images, 1):
            found += len(image.boxes)
            stream.write(("[\n" if tasks == 1 else ",\n") + json.dumps(_task(image, prefix)))
        stream.write("\n]\n" if tasks else "[]\n")
    return f"wrote {target}: {counted(tasks, 'task')}, {counted(found, 'box', 'boxes')}"


def _task(image: ImageBoxes, prefix: str) -> dict[str, Any]:
    joint = "" if prefix.endswith(("/", "=")) else "/"
    name = f"{prefix}{joint}{quote(image.name)}" if prefix else image.name
    prediction: dict[str, Any] = {"model_version": _MODEL, "result": _results(image)}
    scores = image.scores[~np.isnan(image.scores)]
    if len(scores):
        prediction["score"] = float(scores.mean())
    return {"data": {"image": name}, "predictions": [prediction]}


def _results(image: ImageBoxes) -> list[dict[str, Any]]:
    if not len(image.boxes):
        return []
    width, height = image.size()
    results = []
    firsts = outlines(image.boxes)[:, 0].tolist()  # where the top left corner is, once turned
    rows = zip(image.boxes.tolist(), firsts, image.labels, image.scores.tolist(), strict=True)
    for number, ((_, _, w, h, theta), (x, y), label, score) in enumerate(rows, 1):
        value = {
            "x": 100 * x / width,
            "y": 100 * y / height,
            "width": 100 * w / width,
            "height": 100 * h / height,
            "rotation": math.degrees(theta) % 360,
            "rectanglelabels": [label],
        }
        result = {
            "id": str(number),
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
        }
        results.append(result if math.isnan(score) else result | {"score": score})
    return results
