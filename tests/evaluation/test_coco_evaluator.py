"""The streamed evaluator against pycocotools: the same figures, for any data and any chunks."""

import contextlib
import io
import itertools
import json
import tempfile
from pathlib import Path

import cocoapi_example
import numpy as np
import pytest
from effort import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import odtk_ray
from odtk_ray.datasets.ground_truth import Category, GroundTruthBuilder, image_ranks
from odtk_ray.evaluation import matching
from odtk_ray.evaluation.coco_evaluator import CocoEvaluator

TOLERANCE = {"rtol": 0, "atol": 1e-9}


def ours(dataset, detections, evaluated=None, chunk=1000):
    """Metrics of the images at the positions `evaluated` (all), added `chunk` at a time."""
    ids = [json.dumps(image["id"]) for image in dataset["images"]]
    categories = [Category(entry["id"], entry["name"]) for entry in dataset["categories"]]
    position = {entry["id"]: n for n, entry in enumerate(dataset["categories"])}
    builder = GroundTruthBuilder(
        {key: n for n, key in enumerate(ids)}, {json.dumps(key): n for key, n in position.items()}
    )
    builder.add(dataset["annotations"])
    evaluator = CocoEvaluator(builder.build(), categories, image_ranks(ids))
    by_image = {key: [] for key in ids}
    for entry in detections:
        by_image[json.dumps(entry["image_id"])].append(entry)
    order = list(range(len(ids))) if evaluated is None else evaluated
    for start in range(0, len(order), chunk):
        images = order[start : start + chunk]
        found = [by_image[ids[i]] for i in images]
        flat = list(itertools.chain.from_iterable(found))
        evaluator.add(
            np.array(images, np.int64),
            np.array([len(part) for part in found], np.int64),
            np.array([d["score"] for d in flat], float),
            np.array([position.get(d["category_id"], -1) for d in flat], np.int32),
            np.array([d["bbox"] for d in flat], float).reshape(-1, 4),
        )
    return evaluator.result()


def pycocotools(dataset, detections, evaluated=None):
    """The twelve figures, AP and AP50 by category id, and the printed lines."""
    truth, found = COCO(), COCO()
    truth.dataset = dataset
    entries = [
        {**d, "id": n + 1, "area": d["bbox"][2] * d["bbox"][3], "iscrowd": 0}
        for n, d in enumerate(detections)
    ]
    found.dataset = {**dataset, "annotations": entries}  # loadRes fails on an empty list
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        truth.createIndex()
        found.createIndex()
        coco = COCOeval(truth, found, "bbox")
        if evaluated is not None:
            coco.params.imgIds = [dataset["images"][i]["id"] for i in evaluated]
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    precision = coco.eval["precision"][:, :, :, 0, 2]  # [thresholds, recalls, categories]
    by_class = {
        key: (precision[:, :, n].mean(), precision[0, :, n].mean())
        for n, key in enumerate(coco.params.catIds)
    }
    return coco.stats, by_class, printed.getvalue().splitlines()[-12:]


def assert_equal(metrics, reference):
    stats, by_class, _ = reference
    np.testing.assert_allclose(list(metrics.stats.values()), stats, **TOLERANCE)
    assert len(metrics.classes) == len(by_class)
    for row in metrics.classes:
        np.testing.assert_allclose([row.ap, row.ap50], by_class[row.category.id], **TOLERANCE)


@pytest.fixture(scope="module")
def example():
    return cocoapi_example.read()


# The COCO API's own example; its expected figures come with it.
EXAMPLE = {
    "AP": 0.50458,
    "AP50": 0.69697,
    "AP75": 0.57298,
    "APs": 0.58563,
    "APm": 0.51940,
    "APl": 0.50140,
    "AR1": 0.38681,
    "AR10": 0.59368,
    "AR100": 0.59535,
    "ARs": 0.63981,
    "ARm": 0.56642,
    "ARl": 0.56429,
}


def test_example_of_the_coco_api(example):
    metrics, reference = ours(*example), pycocotools(*example)
    assert metrics.stats == pytest.approx(EXAMPLE, abs=5e-6)
    assert list(metrics.stats) == list(EXAMPLE)
    assert_equal(metrics, reference)
    assert metrics.lines() == reference[2]
    assert metrics.images == 100
    assert sum(row.detections for row in metrics.classes) == 734
    boxes = sum(not entry["iscrowd"] for entry in example[0]["annotations"])
    assert sum(row.boxes for row in metrics.classes) == boxes


@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_make_no_difference(example, chunk):
    order = np.random.default_rng(0).permutation(100).tolist()
    assert ours(*example, order, chunk) == ours(*example)


def test_blocks_of_pairs_make_no_difference(example, monkeypatch):
    expected = ours(*example)
    monkeypatch.setattr(matching, "_PAIRS", 3)
    assert ours(*example) == expected


def test_images_that_are_not_added_do_not_count(example):
    evaluated = list(range(10, 60))
    assert_equal(ours(*example, evaluated), pycocotools(*example, evaluated))


# Small numbers, so that scores, IoUs and areas are often equal or exactly on a border.
NUMBERS = st.sampled_from([0, 4, 8, 16, 32])
SIDES = st.sampled_from([0, 4, 8, 16, 32, 33, 96, 100])
BOXES = st.tuples(NUMBERS, NUMBERS, SIDES, SIDES).map(list)
TIED = st.sampled_from([0, 4, 8, 12]).map(lambda x: [x, 0, 16, 16])
AREAS = st.sampled_from([None, 0, 1023.5, 1024, 1024.5, 9216, 9217, 1e10, 1e11])
SCORES = st.sampled_from([0.05, 0.3, 0.30000001192092896, 0.9])
IDS = st.sampled_from([[9, 10, 2], ["a9", "a10", "a2"], ["é", "z", "Z"]])
CATEGORIES = [{"id": 7, "name": "bird"}, {"id": 2, "name": "cat"}, {"id": 5, "name": "dog"}]


@st.composite
def scenes(draw):
    """A data set of up to three images, detections (mostly near its boxes), and those added."""
    ids = draw(IDS)
    place = st.tuples(st.sampled_from(ids), st.sampled_from([7, 2]))
    annotations = []
    boxes = draw(st.sampled_from([BOXES, TIED]))
    truth = st.tuples(place, boxes, AREAS, st.sampled_from([0, 0, 0, 1]))
    for number, ((image, category), bbox, area, crowd) in enumerate(
        draw(st.lists(truth, max_size=9))
    ):
        annotations.append(
            {
                "id": number + 1,
                "image_id": image,
                "category_id": category,
                "bbox": bbox,
                "area": bbox[2] * bbox[3] if area is None else area,
                "iscrowd": crowd,
                "ignore": number % 2,
            }
        )
    free = st.tuples(place, boxes)
    if annotations:
        near = st.tuples(st.sampled_from(annotations), st.sampled_from([0, 1, 2, 4])).map(
            lambda n: (
                (n[0]["image_id"], n[0]["category_id"]),
                [n[0]["bbox"][0] + n[1], n[0]["bbox"][1], *n[0]["bbox"][2:]],
            )
        )
        free = st.one_of(near, near, near, free)
    found = [
        {"image_id": image, "category_id": category, "bbox": bbox, "score": score}
        for ((image, category), bbox), score in draw(st.lists(st.tuples(free, SCORES), max_size=14))
    ]
    dataset = {
        "images": [{"id": key} for key in ids],
        "annotations": annotations,
        "categories": CATEGORIES,
    }
    evaluated = draw(st.permutations(range(3)))[: draw(st.sampled_from([3, 3, 3, 2, 1, 0]))]
    return dataset, found, evaluated


@examples(150, suppress_health_check=[HealthCheck.too_slow])
@given(scene=scenes(), chunk=st.integers(1, 3))
def test_equals_pycocotools(scene, chunk):
    assert_equal(ours(*scene, chunk), pycocotools(*scene))


@examples(200, suppress_health_check=[HealthCheck.too_slow])
@given(scene=scenes())
def test_files_equal_pycocotools(scene):
    """The same by way of `odtk_ray.evaluate`."""
    dataset, found, _ = scene
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.json" for name in ("truth", "found")]
        for path, content in zip(paths, (dataset, found), strict=True):
            Path(path).write_text(json.dumps(content), encoding="utf-8")
        metrics = odtk_ray.evaluate(paths[1], annotations=paths[0]).analysis.metrics
        assert_equal(metrics, pycocotools(dataset, found))


def scattered(seed, images, boxes, detections, size=60):
    """Random boxes of one class, as many and as crowded as wanted."""
    rng = np.random.default_rng(seed)

    def rows(n):
        numbers = np.round(np.hstack([rng.uniform(0, size, (n, 2)), rng.uniform(5, 40, (n, 2))]))
        return [
            {"image_id": int(i), "category_id": 2, "bbox": bbox}
            for i, bbox in zip(rng.integers(0, images, n), numbers.tolist(), strict=True)
        ]

    annotations = [
        {**row, "id": n + 1, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": int(n % 10 == 0)}
        for n, row in enumerate(rows(boxes))
    ]
    found = [{**row, "score": round(float(rng.random()), 1)} for row in rows(detections)]
    entries = [{"id": n} for n in range(images)]
    return {"images": entries, "annotations": annotations, "categories": CATEGORIES}, found


@pytest.mark.parametrize(
    ("images", "boxes", "detections"),
    [(1, 0, 150), (1, 60, 250), (2, 200, 500), (5, 300, 300)],
)
def test_crowded_images_and_more_detections_than_count(images, boxes, detections):
    scene = scattered(1, images, boxes, detections)
    metrics = ours(*scene)
    assert_equal(metrics, pycocotools(*scene))
    assert metrics.classes[1].detections == detections


EMPTY = {"images": [], "annotations": [], "categories": []}
ONE = {
    "images": [{"id": 1}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 7,
            "bbox": [0, 0, 10, 10],
            "area": 100,
            "iscrowd": 0,
        }
    ],
    "categories": CATEGORIES,
}


def one(score, bbox, category=7):
    return {"image_id": 1, "category_id": category, "bbox": bbox, "score": score}


# Side by side, 4 apart: a box between them has IoU 80 / 120 with both.
TWO = [[0, 0, 10, 10], [4, 0, 10, 10]]


def two(first, second):
    """Both boxes, in this order; the best detection lies between them, the next on TWO[0]."""
    entries = [{**ONE["annotations"][0], "id": n, "bbox": TWO[n]} for n in (first, second)]
    return {**ONE, "annotations": entries}, [one(0.9, [2, 0, 10, 10]), one(0.8, TWO[0])]


@pytest.mark.parametrize(
    ("dataset", "found", "ap", "ap50", "ar1"),
    [
        (EMPTY, [], -1, -1, -1),
        ({**ONE, "annotations": []}, [one(0.9, [0, 0, 10, 10])], -1, -1, -1),
        (ONE, [], 0, 0, 0),
        (ONE, [one(0.9, [0, 0, 10, 10])], 1, 1, 1),
        # IoU 60 / 100 reaches 0.5, 0.55 and 0.6: three of ten thresholds.
        (ONE, [one(0.9, [0, 0, 10, 6])], 0.3, 1, 0.3),
        # The wrong one comes first: precision 1 / 2 at every recall, and nothing among the best 1.
        (ONE, [one(0.9, [50, 0, 10, 10]), one(0.8, [0, 0, 10, 10])], 0.5, 0.5, 0),
        # The second one on the same box is wrong, but comes after full recall.
        (ONE, [one(0.9, [0, 0, 10, 10]), one(0.8, [0, 0, 10, 10])], 1, 1, 1),
        # A class that the file does not have, and one without boxes.
        (ONE, [one(0.9, [0, 0, 10, 10], 99), one(0.9, [0, 0, 10, 10], 5)], 0, 0, 0),
        (ONE, [one(0.9, [0, 0, 0, 0])], 0, 0, 0),
        # Of equal IoUs the last one in the file is taken. Up to threshold 0.65 (four of ten):
        # TWO[1], so that TWO[0] is left for the second detection and all are right: AP 1. Beyond,
        # only the second is right: precision 1 / 2 up to recall 1 / 2, 51 of 101 points.
        (*two(0, 1), 0.4 + 0.6 * 51 / 202, 1, 0.2),
        # TWO[0], so that nothing is left for the second: precision 1 up to recall 1 / 2.
        (*two(1, 0), 0.4 * 51 / 101 + 0.6 * 51 / 202, 51 / 101, 0.2),
    ],
)
def test_by_hand(dataset, found, ap, ap50, ar1):
    metrics = ours(dataset, found)
    stats = [metrics.stats[name] for name in ("AP", "AP50", "AR1")]
    assert stats == pytest.approx([ap, ap50, ar1], abs=1e-12)


@pytest.mark.parametrize(
    ("side", "ranges"),
    [(31, "s"), (32, "sm"), (33, "m"), (95, "m"), (96, "ml"), (97, "l")],
)
def test_both_ends_of_an_area_range_are_in_it(side, ranges):
    bbox = [0, 0, side, side]
    entry = {**ONE["annotations"][0], "bbox": bbox, "area": side * side}
    dataset, found = {**ONE, "annotations": [entry]}, [one(0.9, bbox)]
    metrics = ours(dataset, found)
    for name in "sml":
        expected = 1 if name in ranges else -1
        assert metrics.stats[f"AP{name}"] == pytest.approx(expected, abs=1e-12)
    assert_equal(metrics, pycocotools(dataset, found))


def test_ground_truth_with_id_0_counts():
    # pycocotools stores the matched id, and 0 means "none" to it.
    dataset = {**ONE, "annotations": [{**ONE["annotations"][0], "id": 0}]}
    assert ours(dataset, [one(0.9, [0, 0, 10, 10])]).stats["AP"] == pytest.approx(1)


def test_detections_of_unknown_classes_are_left_out_and_not_counted():
    found = [one(0.9, [0, 0, 10, 10], 99), one(0.8, [0, 0, 10, 10])]
    metrics = ours(ONE, found)
    assert metrics.stats["AP"] == pytest.approx(1)
    assert [row.detections for row in metrics.classes] == [1, 0, 0]


def test_table_and_json():
    metrics = ours(ONE, [one(0.9, [0, 0, 10, 6])] * 1200)
    assert metrics.table() == [
        ("class", "id", "AP", "AP50", "AP75", "AR", "boxes", "detections"),
        ("bird", "7", "0.300", "1.000", "0.000", "0.300", "1", "1,200"),
        ("cat", "2", "-", "-", "-", "-", "0", "0"),
        ("dog", "5", "-", "-", "-", "-", "0", "0"),
    ]
    plain = json.loads(json.dumps(metrics.to_json()))
    assert plain["images"] == 1
    assert plain["stats"] == metrics.stats
    assert plain["classes"][0] == {
        "id": 7,
        "name": "bird",
        "AP": pytest.approx(0.3),
        "AP50": pytest.approx(1),
        "AP75": 0,
        "AR": pytest.approx(0.3),
        "boxes": 1,
        "detections": 1200,
    }
    assert plain["classes"][1]["AP"] == -1


ARGUMENTS = {
    "images": np.array([0]),
    "counts": np.array([1]),
    "scores": np.array([0.5]),
    "classes_category": np.array([0], np.int32),
    "bbox": np.zeros((1, 4)),
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"counts": np.array([2])}, "counts"),
        ({"images": np.array([0, 1])}, "counts"),
        ({"classes_category": np.zeros(2, np.int32)}, "classes"),
        ({"bbox": np.zeros((2, 4))}, "boxes"),
        ({"images": np.array([1])}, "twice"),
        ({"images": np.array([0, 0]), "counts": np.array([1, 0])}, "twice"),
    ],
)
def test_arguments_that_disagree_are_refused(changed, message):
    truth = GroundTruthBuilder({}, {}).build()
    evaluator = CocoEvaluator(truth, [Category(1, "a")], np.arange(2))
    none = np.zeros(0, np.int64)
    evaluator.add(
        np.array([1]), np.array([0]), np.zeros(0), none.astype(np.int32), np.zeros((0, 4))
    )
    with pytest.raises(ValueError, match=message):
        evaluator.add(**(ARGUMENTS | changed))
    assert evaluator.result().images == 1
