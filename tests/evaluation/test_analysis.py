"""The analysis against slow loops by the definitions, and against TIDE's own program."""

import json
from collections import Counter

import cocoapi_example
import numpy as np
import pytest
from evaluation_scenes import make_scene

from odtk_ray.datasets.annotation_file import read_annotation_file
from odtk_ray.datasets.detection_builder import Universe
from odtk_ray.datasets.detection_files import read_detections
from odtk_ray.evaluation.analyser import Analyser
from odtk_ray.evaluation.analysis import Goal
from odtk_ray.evaluation.evaluate_files import analyse
from odtk_ray.evaluation.operating_points import choose_point
from odtk_ray.evaluation.overlap import BoxOverlap
from odtk_ray.evaluation.status import ERRORS, KINDS, Status, TruthStatus

SEEDS = range(40)


def read(folder, dataset, found):
    (folder / "truth.json").write_text(json.dumps(dataset), encoding="utf-8")
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
    wanted = read_annotation_file(str(folder / "truth.json"))
    table, remarks = read_detections(str(folder / "found.json"), Universe.of(wanted))
    assert not remarks
    return wanted, table


def run(folder, dataset, found, goal=None):
    wanted, table = read(folder, dataset, found)
    return wanted, table, analyse(wanted, table, [BoxOverlap(wanted.truth)], goal or Goal())


def iou(a, b, crowd=False):
    w = max(min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]), 0)
    h = max(min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]), 0)
    inner = w * h
    return inner / (a[2] * a[3] if crowd else a[2] * a[3] + b[2] * b[3] - inner)


def judged(wanted, table):
    """Status and box of each detection, and status of each box: one image after the other."""
    truth = wanted.truth
    status, box = [None] * len(table), [-1] * len(table)
    by_truth = [TruthStatus.IGNORED if crowd else TruthStatus.MISSED for crowd in truth.crowd]
    for image in range(len(wanted.images)):
        rows = [int(r) for r in np.flatnonzero(table.image == image)]
        rows.sort(key=lambda r: -table.score[r])
        boxes = [int(g) for g in np.flatnonzero(truth.image == image)]
        real = [g for g in boxes if not truth.crowd[g]]

        def over(r, g):
            return iou(table.bbox[r], truth.bbox[g], truth.crowd[g])

        used = set()
        for r in rows:
            same = [g for g in real if truth.category[g] == table.category[r] and g not in used]
            best = max(same, key=lambda g: over(r, g), default=None)
            if best is not None and over(r, best) >= 0.5:
                status[r], box[r] = Status.RIGHT, best
                by_truth[best] = TruthStatus.FOUND
                used.add(best)
            elif any(
                truth.crowd[g] and truth.category[g] == table.category[r] and over(r, g) >= 0.5
                for g in boxes
            ):
                status[r] = Status.IGNORED
        for r in rows:
            if status[r] is None:
                status[r], box[r] = why_wrong(r, real, used, over, truth, table)
                if status[r] in (Status.CLASS, Status.LOCATION) and box[r] not in used:
                    by_truth[box[r]] = TruthStatus.COVERED
    return status, box, by_truth


def why_wrong(r, real, used, over, truth, table):
    same = [g for g in real if truth.category[g] == table.category[r]]
    others = [g for g in real if truth.category[g] != table.category[r]]
    near_same = max(same, key=lambda g: over(r, g), default=None)
    near_other = max(others, key=lambda g: over(r, g), default=None)
    if near_same is not None and 0.1 <= over(r, near_same) <= 0.5:
        return Status.LOCATION, near_same
    if near_other is not None and over(r, near_other) >= 0.5:
        return Status.CLASS, near_other
    in_use = max((g for g in same if g in used), key=lambda g: over(r, g), default=None)
    if in_use is not None and over(r, in_use) >= 0.5:
        return Status.DUPLICATE, in_use
    if max((over(r, g) for g in real), default=0) <= 0.1:
        return Status.BACKGROUND, -1
    return Status.BOTH, -1


@pytest.mark.parametrize("seed", SEEDS)
def test_every_detection_and_box_is_what_tides_definitions_say(tmp_path, seed):
    wanted, table, analysis = run(tmp_path, *make_scene(seed))
    status, box, by_truth = judged(wanted, table)
    assert analysis.detections.status.tolist() == status
    assert analysis.detections.box.tolist() == box
    assert analysis.truth.status.tolist() == by_truth
    for row, found in enumerate(analysis.truth.detection.tolist()):
        assert (found >= 0) == (by_truth[row] == TruthStatus.FOUND)
        assert found < 0 or box[found] == row
    for r, g in enumerate(box):
        if g >= 0:
            expected = iou(table.bbox[r], wanted.truth.bbox[g])
            assert analysis.detections.iou[r] == pytest.approx(expected, abs=1e-6)


def test_the_random_sets_have_every_kind(tmp_path):
    """Otherwise the tests above would show less than they seem to."""
    seen = Counter()
    for seed in SEEDS:
        seen.update(judged(*read(tmp_path, *make_scene(seed)))[0])
    assert min(seen[kind] for kind in list(Status)[: Status.NOT_COUNTED]) >= 3


# What the package `tidecv` 1.0.1 computes of the COCO API's example, in percent.
TIDE_BASE = 64.20498881733425
TIDE = {
    "class": (83, 22.2460397441685),
    "location": (1, 0.22789102370710168),
    "both": (0, 0),
    "duplicate": (1, 0.018972971237033676),
    "background": (0, 0),
    "missed": (97, 8.523573787723365),
}


def test_errors_cost_what_tides_own_program_says(tmp_path):
    _, _, analysis = run(tmp_path, *cocoapi_example.read())
    assert analysis.error_base == pytest.approx(TIDE_BASE / 100, abs=1e-9)
    assert [cost.kind for cost in analysis.errors] == list(TIDE) == list(ERRORS)
    for cost in analysis.errors:
        count, ap = TIDE[cost.kind]
        assert cost.count == count
        assert cost.ap == pytest.approx(ap / 100, abs=1e-9)


def ap50(entries, positives):
    """Precision, interpolated at 101 recalls, of (score, right) pairs."""
    entries = sorted(entries, key=lambda e: -e[0])
    right = wrong = 0
    points = []
    for _, is_right in entries:
        right, wrong = right + is_right, wrong + (not is_right)
        points.append((right / positives, right / (right + wrong)))
    return sum(max((p for r, p in points if r >= k / 100), default=0) for k in range(101)) / 101


CORRECTED = {
    "class": Status.CLASS,
    "location": Status.LOCATION,
    "both": Status.BOTH,
    "duplicate": Status.DUPLICATE,
    "background": Status.BACKGROUND,
}


def corrected(kind, wanted, table, facts):
    """Mean AP50 after one kind of error is corrected, by TIDE's rules."""
    aps = []
    for c in range(len(wanted.categories)):
        entries = list(entries_of(c, kind, wanted.truth, table, facts))
        here = np.flatnonzero((wanted.truth.category == c) & ~wanted.truth.crowd)
        missed = sum(facts[2][g] == TruthStatus.MISSED for g in here)
        positives = len(here) - (missed if kind == "missed" else 0)
        if entries or positives:
            aps.append(ap50(entries, positives) if positives else 0)
    return sum(aps) / len(aps) if aps else 0


def entries_of(category, kind, truth, table, facts):
    """Score, and whether it is right, of the detections of a class after a correction."""
    status, box, by_truth = facts
    best = {}  # box to the detection that would find it
    for r in sorted(range(len(table)), key=lambda r: (-table.score[r], r)):
        if status[r] in (Status.CLASS, Status.LOCATION) and by_truth[box[r]] != TruthStatus.FOUND:
            best.setdefault(box[r], r)
    for r in range(len(table)):
        if status[r] == CORRECTED.get(kind):
            if best.get(box[r]) == r and truth.category[box[r]] == category:
                yield table.score[r], True
        elif status[r] != Status.IGNORED and table.category[r] == category:
            yield table.score[r], status[r] == Status.RIGHT


@pytest.mark.parametrize("seed", SEEDS)
def test_errors_cost_what_a_slow_loop_computes(tmp_path, seed):
    dataset, found = make_scene(seed)
    for number, row in enumerate(found):
        row["score"] += number / 1e4  # all different: of equal scores any order would do
    wanted, table, analysis = run(tmp_path, dataset, found)
    facts = judged(wanted, table)
    base = corrected(None, wanted, table, facts)
    assert analysis.error_base == pytest.approx(base, abs=1e-9)
    for cost in analysis.errors:
        expected = max(corrected(cost.kind, wanted, table, facts) - base, 0)
        assert cost.ap == pytest.approx(expected, abs=1e-9), cost.kind


@pytest.mark.parametrize("seed", SEEDS)
def test_curves_and_thresholds_are_counts_of_detections(tmp_path, seed):
    wanted, table, analysis = run(tmp_path, *make_scene(seed))
    curves, status = analysis.curves, analysis.detections.status
    for c in range(len(wanted.categories)):
        scores = {
            kind: table.score[(table.category == c) & (status <= Status.BACKGROUND)
                              & ((status == Status.RIGHT) == (kind == "right"))]
            for kind in ("right", "wrong")
        }  # fmt: skip
        for kind, counts in (("right", curves.right[c]), ("wrong", curves.wrong[c])):
            assert counts.tolist() == [(scores[kind] > t).sum() for t in curves.scores]
        boxes = int(((wanted.truth.category == c) & ~wanted.truth.crowd).sum())
        assert curves.positives[c] == boxes
        point = analysis.points[c]
        if not boxes or not len(scores["right"]):
            assert point is None
            continue
        right, wrong = ((scores[kind] > point.threshold).sum() for kind in ("right", "wrong"))
        assert (point.right, point.wrong, point.positives) == (right, wrong, boxes)
        every = [
            2 * (scores["right"] >= s).sum()
            / ((scores["right"] >= s).sum() + (scores["wrong"] >= s).sum() + boxes)
            for s in np.concatenate(list(scores.values()))
        ]  # fmt: skip
        assert point.f1 == pytest.approx(max(every))


SCORES = np.array([0.9, 0.8, 0.8, 0.6, 0.5, 0.4])
RIGHT = np.array([True, True, False, True, False, True])


@pytest.mark.parametrize(
    ("goal", "right", "wrong"),
    [
        # After 1, 3, 4, 5 and 6 detections; 0.8 comes twice. Of 5 boxes 1, 2, 3, 3, 4 are found:
        # F1 is 2 / 6, 4 / 8, 6 / 9, 6 / 10, 8 / 11.
        (Goal(), 4, 2),
        (Goal("precision", 0.75), 3, 1),  # precisions 1, 2/3, 3/4, 3/5, 4/6
        (Goal("precision", 0.7), 3, 1),
        (Goal("precision", 0.76), 1, 0),
        (Goal("recall", 0.4), 2, 1),
        (Goal("recall", 0.41), 3, 1),
        (Goal("recall", 0.81), None, None),
    ],
)
def test_a_threshold_reaches_its_goal(goal, right, wrong):
    point = choose_point(SCORES, RIGHT, 5, goal)
    assert (right is None) == (point is None)
    if point is not None:
        assert (point.right, point.wrong) == (right, wrong)
        assert (point.threshold < SCORES).sum() == right + wrong


def test_confusion_pairs_boxes_and_detections_one_to_one(tmp_path):
    """Rows sum to the boxes of a class, columns to its detections at the threshold."""
    for seed in SEEDS:
        wanted, table, analysis = run(tmp_path, *make_scene(seed))
        limits = [np.inf if p is None else p.threshold for p in analysis.points]
        cells, status = analysis.confusion, analysis.detections.status
        n = len(wanted.categories)
        for c in range(n):
            boxes = (wanted.truth.category == c) & ~wanted.truth.crowd
            counted = (table.category == c) & (status < Status.IGNORED)
            found = counted & (table.score > limits[c])
            assert cells[c].sum() == boxes.sum()
            assert cells[:, c].sum() == found.sum()
            assert cells[c, c] == (found & (status == Status.RIGHT)).sum()
        assert cells[n, n] == 0


def entry(bbox, category, **more):
    return {"image_id": 0, "category_id": category, "bbox": bbox} | more


def test_confusion_by_hand(tmp_path):
    """Two classes on one box: the better one takes it, the other lies on nothing then."""
    dataset = {
        "images": [{"id": 0}],
        "categories": [{"id": i, "name": n} for i, n in enumerate(("cat", "dog", "cow"))],
        "annotations": [
            entry([0, 0, 10, 10], 0, id=1, area=100),
            entry([50, 0, 10, 10], 1, id=2, area=100),
            entry([90, 0, 10, 10], 2, id=3, area=100),
            entry([130, 0, 10, 10], 2, id=4, area=100),
        ],
    }
    found = [
        entry([50, 0, 10, 10], 1, score=0.5),  # right: the threshold of dogs lies below
        entry([0, 0, 10, 9], 1, score=0.9),  # on the cat
        entry([0, 0, 10, 10], 2, score=0.8),  # on the cat too, nearer but worse
        entry([90, 0, 10, 10], 2, score=0.7),  # right
    ]
    analysis = run(tmp_path, dataset, found)[2]
    assert analysis.confusion.tolist() == [
        [0, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 1],
        [0, 0, 1, 0],
    ]
    assert analysis.images.tolist() == [[2, 2, 0, 0, 0, 0, 2]]


def test_counts_by_image_and_size_add_up(tmp_path):
    for seed in SEEDS:
        wanted, _, analysis = run(tmp_path, *make_scene(seed))
        totals = analysis.images.sum(axis=0)
        assert totals.tolist() == sum(row.counts for row in analysis.sizes).tolist()
        assert totals[1:].tolist() == [cost.at_thresholds for cost in analysis.errors]
        boxes = int((~wanted.truth.crowd).sum())
        assert totals[0] + totals[-1] == boxes == sum(row.boxes for row in analysis.sizes)
        assert len(KINDS) == analysis.images.shape[1]


def test_images_that_are_not_added_do_not_count(tmp_path):
    """Their boxes are not missed either."""
    wanted, table = read(tmp_path, *make_scene(3))
    assert len(wanted.images) > 1
    analyser = Analyser(
        wanted.truth, wanted.categories, np.arange(len(wanted.images)), [BoxOverlap(wanted.truth)]
    )
    first = table.image == 0
    analyser.add(
        np.array([0]), np.array([first.sum()]), table.score[first],
        table.category[first].astype(np.int32), table.bbox[first],
    )  # fmt: skip
    analysis = analyser.result()
    others = wanted.truth.image > 0
    assert set(analysis.truth.status[others]) == {TruthStatus.NOT_EVALUATED}
    assert not analysis.images[1:].any()
    assert analysis.confusion[:-1].sum() == (~others & ~wanted.truth.crowd).sum()


def test_beyond_the_best_hundred_nothing_counts(tmp_path):
    dataset = {
        "images": [{"id": 0}],
        "categories": [{"id": 0, "name": "cat"}],
        "annotations": [entry([0, 0, 10, 10], 0, id=1, area=100)],
    }
    found = [entry([500, 500, 9, 9], 0, score=0.9 - n / 1e3) for n in range(100)]
    found.append(entry([0, 0, 10, 10], 0, score=0.1))
    analysis = run(tmp_path, dataset, found)[2]
    assert analysis.detections.status[-1] == Status.NOT_COUNTED
    assert analysis.truth.status.tolist() == [TruthStatus.MISSED]


def test_nothing_at_all(tmp_path):
    dataset = {
        "images": [{"id": 0}],
        "categories": [{"id": 0, "name": "cat"}],
        "annotations": [entry([0, 0, 10, 10], 0, id=1, area=100)],
    }
    analysis = run(tmp_path, dataset, [])[2]
    assert analysis.points == (None,)
    assert analysis.confusion.tolist() == [[0, 1], [0, 0]]
    assert [cost.ap for cost in analysis.errors] == [0] * 6
