"""Rotated evaluation: masks against pycocotools, exact polygons against shapely."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import shapely
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odtk_ray.datasets.ground_truth import Category, GroundTruthBuilder, image_ranks
from odtk_ray.datasets.polygons import read_rings
from odtk_ray.datasets.problems import Problem
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.evaluation.coco_evaluator import CocoEvaluator
from odtk_ray.evaluation.overlap import MaskOverlap, PolygonOverlap
from odtk_ray.evaluation.score_run import crowded

CATEGORIES = [{"id": 7, "name": "ship"}, {"id": 2, "name": "plane"}]
SIZE = (120, 160)  # height, width


def polygon(box):
    return corners(np.array([box], float)).ravel().tolist()


def scene(seed, images=6, boxes=40, found=90, spread=5.0):
    """Turned boxes, some of them crowd regions, and detections most of which are near one."""
    rng = np.random.default_rng(seed)

    def box():
        place, sides = rng.uniform(0, [160, 120]), rng.uniform([12, 4], [70, 25])
        return [*(place - sides / 2), *sides, rng.uniform(-math.pi, math.pi)]

    annotations = []
    for n in range(boxes):
        one = box()
        annotations.append(
            {
                "id": n + 1,
                "image_id": int(rng.integers(images)),
                "category_id": int(rng.choice([7, 2])),
                "bbox": one,
                "segmentation": [polygon(one)],
                "area": one[2] * one[3],
                "iscrowd": int(rng.random() < 0.1),
            }
        )
    detections = []
    for _ in range(found):
        base = annotations[rng.integers(boxes)]
        near = (base["bbox"] + rng.normal(0, spread, 5) * [0.4, 0.4, 0.4, 0.4, 0.01]).tolist()
        near[2:4] = np.maximum(near[2:4], 2).tolist()
        one = near if rng.random() < 0.8 else box()
        detections.append(
            {
                "image_id": base["image_id"],
                "category_id": base["category_id"],
                "bbox": one,
                "segmentation": [polygon(one)],
                "score": round(float(rng.random()), 1),
            }
        )
    entries = [{"id": n, "height": SIZE[0], "width": SIZE[1]} for n in range(images)]
    return {"images": entries, "annotations": annotations, "categories": CATEGORIES}, detections


def truth_of(dataset):
    builder = GroundTruthBuilder(
        {str(image["id"]): n for n, image in enumerate(dataset["images"])},
        {str(entry["id"]): n for n, entry in enumerate(dataset["categories"])},
        rotated=True,
    )
    builder.add(dataset["annotations"])
    return builder.build(), builder


def ours(dataset, detections, measure, chunk=1000):
    truth, _ = truth_of(dataset)
    sizes = np.array([SIZE] * len(dataset["images"]), np.int64)
    overlap = PolygonOverlap(truth) if measure == "exact" else MaskOverlap(truth, sizes)
    categories = [Category(entry["id"], entry["name"]) for entry in dataset["categories"]]
    ids = [str(image["id"]) for image in dataset["images"]]
    evaluator = CocoEvaluator(truth, categories, image_ranks(ids), overlap)
    position = {entry["id"]: n for n, entry in enumerate(dataset["categories"])}
    for start in range(0, len(ids), chunk):
        images = list(range(len(ids)))[start : start + chunk]
        found = [[d for d in detections if d["image_id"] == i] for i in images]
        flat = [d for part in found for d in part]
        evaluator.add(
            np.array(images, np.int64),
            np.array([len(part) for part in found], np.int64),
            np.array([d["score"] for d in flat], float),
            np.array([position[d["category_id"]] for d in flat], np.int32),
            np.array([d["bbox"] for d in flat], float).reshape(-1, 5),
        )
    return evaluator.result()


def exact_ious(found, wanted):
    """COCOeval's table for one image and class, by shapely."""
    one = [shapely.Polygon(np.reshape(d["segmentation"][0], (-1, 2))) for d in found]
    other = [shapely.Polygon(np.reshape(g["segmentation"][0], (-1, 2))) for g in wanted]
    table = np.zeros((len(one), len(other)))
    for i, j in np.ndindex(table.shape):
        common = one[i].intersection(other[j]).area
        crowd = wanted[j]["iscrowd"]
        table[i, j] = common / (one[i].area + (0 if crowd else other[j].area - common))
    return table


def pycocotools(dataset, detections, exact=False):
    truth, annotations = COCO(), dataset["annotations"]
    # Copies, since pycocotools puts masks where the polygons were.
    truth.dataset = {**dataset, "annotations": [dict(a) for a in annotations], "info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes([dict(d) for d in detections])
        coco = COCOeval(truth, found, "segm")
        if exact:
            plain = coco.computeIoU

            def compute(image, category):
                if len(plain(image, category)) == 0:
                    return []
                rows = sorted(coco._dts[image, category], key=lambda d: -d["score"])
                rows = [detections[row["id"] - 1] for row in rows[:100]]
                columns = [g["id"] for g in coco._gts[image, category]]
                return exact_ious(rows, [annotations[n - 1] for n in columns])

            coco.computeIoU = compute
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    return coco.stats


@pytest.mark.parametrize("measure", ["masks", "exact"])
@pytest.mark.parametrize(("seed", "chunk"), [(1, 100), (2, 1), (3, 4)])
def test_equals_pycocotools(measure, seed, chunk):
    scenery = scene(seed)
    metrics = ours(*scenery, measure, chunk)
    expected = pycocotools(*scenery, exact=measure == "exact")
    np.testing.assert_allclose(list(metrics.stats.values()), expected, rtol=0, atol=1e-9)
    assert 0.2 < metrics.stats["AP50"] < 0.95


def test_masks_get_thin_boxes_wrong_and_exact_polygons_do_not():
    # bars of 60 x 1 (2 pixels wide, whose centres are 1 apart), 0.3 pixels aside: IoU 0.7 / 1.3
    dataset, _ = scene(0, images=1, boxes=1)
    truth, aside = [50.3, 50.2, 61, 2, 0], [50.3, 50.5, 61, 2, 0]
    wanted = dataset["annotations"][0]
    wanted |= {"bbox": truth, "segmentation": [polygon(truth)], "iscrowd": 0}
    found = {"image_id": 0, "category_id": wanted["category_id"], "score": 0.9}
    scenery = dataset, [found | {"bbox": aside, "segmentation": [polygon(aside)]}]
    # 0.538 reaches the first of the ten thresholds; the masks, a row of pixels each, do not meet
    assert ours(*scenery, "exact").stats["AP"] == pytest.approx(0.1)
    assert ours(*scenery, "masks").stats["AP"] == pycocotools(*scenery)[0] == 0


@given(seed=st.integers(0, 2**32))
@examples(30)
def test_boxes_against_any_outline(seed):
    """Outlines with up to 9 corners, not convex, in either direction, in one or two rings."""
    rng = np.random.default_rng(seed)
    annotations, shapes = [], []
    for n in range(6):
        rings = []
        for part in range(1 + n % 2):
            angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 10)))
            radius = rng.uniform(3, 25, len(angles))
            ring = 60 * part + 50 + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
            rings.append(ring[:: rng.choice([-1, 1])])
        parts = [shapely.Polygon(ring) for ring in rings]
        if not all(part.is_valid for part in parts):
            continue
        shapes.append(shapely.union_all(parts))
        annotations.append(
            {
                "id": n,
                "image_id": 0,
                "category_id": 7,
                "segmentation": [ring.ravel().tolist() for ring in rings],
                "iscrowd": n % 3 == 0,
            }
        )
    images = [{"id": 0}]
    truth, _ = truth_of({"images": images, "annotations": annotations, "categories": CATEGORIES})
    boxes = rng.uniform([0, 0, 1, 1, -4], [60, 60, 80, 80, 4], (20, 5))
    pairs = PolygonOverlap(truth).pairs(boxes, np.zeros(20, np.int64), np.arange(len(shapes)))
    det, gt = (index.ravel() for index in np.indices((20, len(shapes))))
    found = pairs(det, gt).reshape(20, -1)
    for i, j in np.ndindex(found.shape):
        box = shapely.Polygon(corners(boxes[i : i + 1])[0])
        common = box.intersection(shapes[j]).area
        union = box.area if annotations[j]["iscrowd"] else box.area + shapes[j].area - common
        assert found[i, j] == pytest.approx(common / union, abs=1e-9)


RING = [10.0, 10.0, 50.0, 10.0, 50.0, 30.0, 10.0, 30.0]
POINTS = [[10, 10], [50, 10], [50, 30], [10, 30]]


@pytest.mark.parametrize(
    ("segmentation", "rings"),
    [
        ([RING], [RING]),
        (RING, [RING]),
        (POINTS, [RING]),
        ([POINTS], [RING]),
        ([RING, RING[:6]], [RING, RING[:6]]),
        ([POINTS, RING[:6]], [RING, RING[:6]]),
        (None, None),
        ([], None),
        ([[]], None),
        ([RING[:4]], None),
        ([RING[:7]], None),
        ([[math.nan] * 8], None),
        ([["1"] * 8], None),
        ({"counts": "x", "size": [1, 1]}, None),
        ("text", None),
        ([RING, None], None),
    ],
)
def test_forms_of_a_segmentation(segmentation, rings):
    assert read_rings(segmentation) == rings


def test_more_than_a_hundred_objects_of_a_class():
    """COCO's 100 detections of an image and class find half of 200; the exact figures have none."""
    boxes = [[8 * (n % 20), 11 * (n // 20), 6, 9, 0.0] for n in range(200)]
    common = {"image_id": 0, "category_id": 7, "area": 54, "iscrowd": 0}
    objects = [
        common | {"id": n + 1, "bbox": box, "segmentation": [polygon(box)]}
        for n, box in enumerate(boxes)
    ]
    dataset = {"images": [{"id": 0, "height": 120, "width": 160}], "categories": CATEGORIES}
    dataset["annotations"] = objects
    found = [row | {"score": 0.9 - 0.001 * n} for n, row in enumerate(objects)]
    masks, exact = (ours(dataset, found, measure) for measure in ("masks", "exact"))
    assert (
        masks.stats["AP"]
        == pytest.approx(pycocotools(dataset, found)[0])
        == pytest.approx(51 / 101)
    )
    assert exact.stats["AP"] == pytest.approx(1)
    assert exact.stats["AR100"] == pytest.approx(0.5)
    assert exact.classes[0].ap == pytest.approx(1)
    assert "area=   all | maxDets=100 ] = 0.505" in masks.lines()[0]
    assert "area=   all | maxDets=all ] = 1.000" in exact.lines()[0]
    assert "maxDets=100 ] = 0.500" in exact.lines()[8]
    assert crowded(truth_of(dataset)[0]) == (
        "1 image has more than 100 objects of a class: COCO's figures count the best 100 "
        "detections of an image and class, the exact ones all"
    )
    # The hundred and first is a crowd region, which nothing has to find.
    assert (
        crowded(
            truth_of(dataset | {"annotations": [*objects[:100], objects[100] | {"iscrowd": 1}]})[0]
        )
        == ""
    )


def test_what_an_annotation_may_lack():
    common = {"image_id": 0, "category_id": 7}
    annotations = [
        common | {"id": 1, "bbox": [10, 10, 41, 21], "segmentation": POINTS, "area": 800},
        common | {"id": 2, "bbox": [10, 10, 41, 21, 0.0]},
        common | {"id": 3, "segmentation": [RING]},
        common
        | {"id": 4, "bbox": [10, 10, 41, 21], "segmentation": {"counts": "", "size": [9, 9]}},
        common | {"id": 5, "bbox": [10, 10, -41, 21, 0.0]},
        common | {"id": 6},
    ]
    truth, builder = truth_of(
        {"images": [{"id": 0}], "annotations": annotations, "categories": CATEGORIES}
    )
    assert len(truth) == 4
    assert truth.polygons is not None
    for row in range(4):  # whatever the form, it is the same outline of 40 x 20
        shape = shapely.Polygon(np.reshape(truth.polygons.rings(row)[0], (-1, 2)))
        assert shape.equals(shapely.Polygon(POINTS))
    np.testing.assert_array_equal(truth.polygons.edges().area, [800] * 4)
    np.testing.assert_array_equal(truth.bbox, [[10, 10, 41, 21]] * 4)
    np.testing.assert_array_equal(truth.area, [800, 861, 861, 861])  # 41 x 21 where it is missing
    kinds = (Problem.POINTS, Problem.NO_OUTLINE, Problem.AREA, Problem.BOX)
    assert [builder.findings.count(problem) for problem in kinds] == [1, 2, 3, 2]
    assert "the first has id 5" in str(next(iter(builder.findings)))


@pytest.mark.parametrize("measure", ["masks", "exact"])
def test_no_detections_and_nothing_to_find(measure):
    dataset, detections = scene(5)
    assert ours(dataset, [], measure).stats["AP"] == 0
    assert ours(dataset | {"annotations": []}, detections, measure).stats["AP"] == -1


def test_outlines_follow_their_images():
    dataset, _ = scene(9)
    truth, _ = truth_of(dataset)
    in_order = sorted(dataset["annotations"], key=lambda a: a["image_id"])
    assert json.dumps([truth.polygons.rings(n) for n in range(len(truth))]) == json.dumps(
        [entry["segmentation"] for entry in in_order]
    )


@pytest.mark.parametrize("far", [1e9, -1e14, 1_000_001])
def test_ground_truth_far_away_is_left_out_and_counted(far):
    """pycocotools' masks of such an outline kill the process."""
    dataset, detections = scene(4)
    common = {"image_id": 0, "category_id": 7, "area": 9}
    odd = [
        common | {"id": 77, "segmentation": [[0, 0, far, 0, far, far, 0, far]]},
        common | {"id": 78, "bbox": [far, 0, 9, 9, 0.1]},
    ]
    for measure in ("masks", "exact"):
        found = ours(dataset | {"annotations": dataset["annotations"] + odd}, detections, measure)
        assert found == ours(dataset, detections, measure)
    _, builder = truth_of(dataset | {"annotations": odd})
    (far_away,) = (found for found in builder.findings if found.problem is not Problem.NO_OUTLINE)
    assert (far_away.problem, far_away.count, far_away.first) == (Problem.FAR, 2, "has id 77")


def test_inverted_boxes_far_away_are_no_match_and_no_crash():
    dataset, detections = scene(4)
    for entry in detections:
        entry["bbox"] = [1e9, 1e9, -2e9, 5, 0.3]
    assert ours(dataset, detections, "masks").stats["AP"] == 0
    assert ours(dataset, detections, "exact").stats["AP"] == 0
