"""Scenes as COCO has them: annotations with rotated boxes, and pictures in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from odtk_ray.datasets.rotated_boxes import corners
from training.scenes import VERSION, Scene
from training.silhouettes import NAMES


def coco_content(scenes: Iterable[Scene], folder: Path | None = None) -> dict[str, Any]:
    """Make the content of a COCO file with ODTK's rotated boxes.

    Besides COCO's own entries an annotation has `hidden`, the share of the shape below others.

    Args:
        scenes: in the order of the file.
        folder: where their pictures are written as PNG, one after the other, if anywhere.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, start=1):
        name = f"{number:04d}.png"
        height, width = scene.pixels.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        if folder:
            Image.fromarray(scene.pixels).save(folder / name, compress_level=1)
        outlines = corners(scene.boxes).reshape(-1, 8)
        rows = zip(scene.boxes, outlines, scene.classes, scene.hidden, strict=True)
        for box, outline, kind, hidden in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(kind) + 1,
                    "bbox": box.tolist(),
                    "segmentation": [outline.tolist()],
                    "area": float(box[2] * box[3]),
                    "iscrowd": 0,
                    "hidden": round(float(hidden), 4),
                }
            )
    return {
        "info": {"description": f"odtk-ray's scenes with rotated boxes, generator {VERSION}"},
        "images": images,
        "categories": [{"id": i, "name": name} for i, name in enumerate(NAMES, start=1)],
        "annotations": annotations,
    }
