"""Data sets with pictures and detections for tests of reports, and reports of them."""

from __future__ import annotations

import json

from evaluation_scenes import make_scene
from synthetic import picture

import odtk_ray

WORST_SCENE = 39  # several images and classes; detections of all kinds


def write_scene(folder, seed=WORST_SCENE, dataset=None, found=None):
    """Write truth.json, found.json and the pictures; return the arguments of `evaluate`."""
    made = make_scene(seed, crowds=False)
    dataset, found = dataset or made[0], made[1] if found is None else found
    (folder / "truth.json").write_text(json.dumps(dataset), encoding="utf-8")
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
    (folder / "images").mkdir(exist_ok=True)
    for i in range(len(dataset["images"])):
        picture(i, 100, 100).save(folder / "images" / f"{i}.jpg")
    return str(folder / "found.json"), {"annotations": str(folder / "truth.json")}


def report_of(folder, *, pictures=True, **more):
    """Write a scene and its report; return the report's path and the evaluation."""
    detections, options = write_scene(folder, **more)
    images = str(folder / "images") if pictures else None
    path = folder / "report.html"
    evaluation = odtk_ray.evaluate(detections, report=str(path), images=images, **options)
    return path, evaluation
