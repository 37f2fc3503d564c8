"""Small random data sets, and detections that are often nearly right."""

from __future__ import annotations

import numpy as np


def make_scene(seed, crowds=True):
    """A COCO data set of a few images and classes, and a list of COCO results.

    No two IoUs are equal, and scores only rarely.
    """
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 6)), int(rng.integers(1, 5))

    def box():
        return [*rng.uniform(0, 60, 2).tolist(), *rng.uniform(5, 40, 2).tolist()]

    annotations = []
    for number in range(int(rng.integers(0, 30))):
        bbox = box()
        annotations.append(
            {
                "id": number + 1,
                "image_id": int(rng.integers(images)),
                "category_id": int(rng.integers(classes)),
                "bbox": bbox,
                "area": bbox[2] * bbox[3],
                "iscrowd": int(crowds and rng.random() < 0.1),
            }
        )
    found = []
    for _ in range(int(rng.integers(0, 60))):
        image, category, bbox = int(rng.integers(images)), int(rng.integers(classes)), box()
        if annotations and rng.random() < 0.7:
            near = annotations[int(rng.integers(len(annotations)))]
            image = near["image_id"]
            category = near["category_id"] if rng.random() < 0.7 else category
            bbox = (np.array(near["bbox"]) + rng.normal(0, 4, 4)).clip(min=[-99, -99, 1, 1])
            bbox = bbox.tolist()
        score = round(float(rng.random()), 2)
        found.append({"image_id": image, "category_id": category, "bbox": bbox, "score": score})
    dataset = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 100} for i in range(images)
        ],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(classes)],
        "annotations": annotations,
    }
    return dataset, found
