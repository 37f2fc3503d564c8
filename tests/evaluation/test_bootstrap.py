"""The bootstrap against pycocotools run again on every draw of images."""

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import GroundTruth
from odtk_ray.evaluation.bootstrap import FIGURES, Bootstrap

IMAGES, CLASSES = 9, 3
EACH = np.arange(IMAGES)  # every image on its own
NO_BOXES = 2  # an image without any


def compare(truth, a, b, *, level=0.95, **options):
    """The differences of AP, AP50 and AP75."""
    found = Bootstrap(truth, [a, b], categories=CLASSES, **options).difference(0, 1, level)
    return found[: len(FIGURES)]


def make_truth(rng, count=40):
    image = np.sort(rng.choice([i for i in range(IMAGES) if i != NO_BOXES], count))
    bbox = np.hstack([rng.uniform(0, 200, (count, 2)), rng.uniform(10, 60, (count, 2))])
    category = rng.integers(0, CLASSES, count).astype(np.int32)
    crowd = rng.random(count) < 0.1
    return GroundTruth(image, category, bbox, bbox[:, 2] * bbox[:, 3], crowd)


def make_detections(rng, truth, noise, false=40):
    """The boxes of the truth, moved, and others of any place.

    Scores repeat from image to image, not inside one.
    """
    n = len(truth.image)
    shift = rng.normal(0, noise, (n, 4)) * np.tile(truth.bbox[:, 2:], 2)
    others = np.hstack([rng.uniform(0, 200, (false, 2)), rng.uniform(10, 60, (false, 2))])
    image = np.concatenate([truth.image, rng.integers(0, IMAGES, false)])
    score = np.empty(n + false)
    for i in range(IMAGES):
        score[image == i] = rng.permutation(40)[: np.count_nonzero(image == i)] / 40
    return DetectionTable(
        image=image,
        category=np.concatenate([truth.category, rng.integers(0, CLASSES, false)]).astype(np.int64),
        score=score,
        bbox=np.concatenate([truth.bbox + shift, others]),
    )


NOTHING = DetectionTable(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty((0, 4))
)


def coco_figures(truth, table, images):
    """AP, AP50 and AP75 by pycocotools, where `images` names some images more than once."""
    annotations, results = [], []
    for copy_id, image in enumerate(images, start=1):
        for row in np.flatnonzero(truth.image == image):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": copy_id,
                    "category_id": int(truth.category[row]) + 1,
                    "bbox": truth.bbox[row].tolist(),
                    "area": float(truth.area[row]),
                    "iscrowd": int(truth.crowd[row]),
                }
            )
        for row in np.flatnonzero(table.image == image):
            results.append(
                {
                    "image_id": copy_id,
                    "category_id": int(table.category[row]) + 1,
                    "bbox": table.bbox[row].tolist(),
                    "score": float(table.score[row]),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(1, len(images) + 1)],
            "categories": [{"id": c + 1} for c in range(CLASSES)],
            "annotations": annotations,
        }
        coco.createIndex()
        if not results:
            return np.zeros(3)
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3]


def draws_of(seed, draws, groups):
    """The images of each draw: the generator's numbers, spelled out."""
    n = groups.max() + 1
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), draws)
    return [np.repeat(EACH, row[groups]) for row in counts]


@pytest.mark.parametrize(
    ("seed", "level", "groups"),
    [(0, 0.95, EACH), (1, 0.8, EACH), (2, 0.9, np.array([0, 1, 2, 3, 0, 1, 2, 3, 3]))],
)
def test_intervals_are_those_of_running_pycocotools_on_every_draw(seed, level, groups):
    rng = np.random.default_rng(seed)
    truth = make_truth(rng)
    tables = [make_detections(rng, truth, noise) for noise in (0.05, 0.15)]
    found = compare(truth, *tables, groups=groups, draws=20, level=level, seed=seed)
    drawn = draws_of(seed, 20, groups)
    figures = np.array(
        [[coco_figures(truth, table, images) for table in tables] for images in drawn]
    )
    low, high = np.quantile(
        figures[:, 1] - figures[:, 0], [(1 - level) / 2, (1 + level) / 2], axis=0
    )
    whole = [coco_figures(truth, table, np.arange(IMAGES)) for table in tables]
    assert [row.name for row in found] == ["AP", "AP50", "AP75"]
    for i, row in enumerate(found):
        assert len(np.unique(figures[:, :, i])) > 15
        expected = [whole[0][i], whole[1][i], low[i], high[i]]
        assert [row.a, row.b, row.low, row.high] == pytest.approx(expected, abs=1e-12)
        assert row.low < row.high


def test_nothing_against_something():
    rng = np.random.default_rng(2)
    truth = make_truth(rng)
    table = make_detections(rng, truth, 0.01, false=0)
    for row in compare(truth, NOTHING, table, groups=EACH, draws=50):
        assert row.a == 0
        assert row.b > 0.3
        assert 0 < row.low <= row.b <= row.high


def test_without_boxes_to_find_the_figures_are_undefined():
    empty = GroundTruth(
        np.empty(0, np.int64),
        np.empty(0, np.int32),
        np.empty((0, 4)),
        np.empty(0),
        np.empty(0, bool),
    )
    for row in compare(empty, NOTHING, NOTHING, groups=np.arange(3), draws=5):
        assert (row.a, row.b, row.low, row.high) == (-1, -1, 0, 0)


def test_a_detector_does_not_differ_from_itself_in_another_order():
    rng = np.random.default_rng(3)
    truth = make_truth(rng)
    table = make_detections(rng, truth, 0.1)
    distinct = rng.permutation(len(table.score)) / 100
    table = DetectionTable(table.image, table.category, distinct, table.bbox)
    order = rng.permutation(len(table.score))
    shuffled = DetectionTable(
        table.image[order], table.category[order], table.score[order], table.bbox[order]
    )
    for row in compare(truth, table, shuffled, groups=EACH, draws=30):
        assert (row.low, row.high) == (0, 0)
        assert row.a == row.b > 0


def test_the_seed_decides_the_draws():
    rng = np.random.default_rng(4)
    truth = make_truth(rng)
    tables = [make_detections(rng, truth, noise) for noise in (0.05, 0.15)]
    first, same, other = (
        compare(truth, *tables, groups=EACH, draws=20, seed=seed) for seed in (5, 5, 6)
    )
    assert first == same
    assert first != other


def test_only_the_best_hundred_of_an_image_count():
    """The right detection comes last of 101 in its image, so it is not seen."""
    one = np.ones(1, np.int64)
    truth = GroundTruth(
        0 * one, np.zeros(1, np.int32), np.array([[0.0, 0, 10, 10]]), 100.0 * one, np.zeros(1, bool)
    )
    bbox = np.tile([100.0, 100, 10, 10], (101, 1))
    bbox[-1] = [0, 0, 10, 10]
    score = np.linspace(1, 0.5, 101)
    late = DetectionTable(np.zeros(101, np.int64), np.zeros(101, np.int64), score, bbox)
    early = DetectionTable(late.image[1:], late.category[1:], score[1:], bbox[1:])
    row = compare(truth, late, early, groups=np.arange(1), draws=3)[0]
    assert row.a == 0
    assert row.b == pytest.approx(0.01)  # one right in a hundred
