"""Annotations to columns: order, defaults, and what is left out and counted."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odtk_ray.datasets.ground_truth import GroundTruth, GroundTruthBuilder, image_ranks
from odtk_ray.datasets.problems import Problem

IMAGES = {"17": 0, '"a17"': 1, "9": 2}
CATEGORIES = {"3": 0, '"cat"': 1}


def build(annotations):
    builder = GroundTruthBuilder(IMAGES, CATEGORIES)
    builder.add(annotations)
    return builder, builder.build()


def entry(image_id=17, category_id=3, bbox=(1, 2, 3, 4), **others):
    return {"image_id": image_id, "category_id": category_id, "bbox": list(bbox), **others}


def counts(builder):
    kinds = (Problem.IMAGE, Problem.CATEGORY, Problem.BOX, Problem.AREA)
    return tuple(builder.findings.count(problem) for problem in kinds)


def test_empty():
    builder, truth = build([])
    assert len(truth) == 0
    assert truth.bbox.shape == (0, 4)
    assert (truth.image.dtype, truth.category.dtype) == (np.int64, np.int32)
    assert (truth.bbox.dtype, truth.area.dtype, truth.crowd.dtype) == (float, float, bool)
    assert counts(builder) == (0, 0, 0, 0)
    assert list(builder.findings) == []


def test_rows_are_sorted_by_image_and_keep_file_order_inside_one():
    _, truth = build(
        [
            entry(9, 3, (1, 0, 5, 6), area=10, iscrowd=1),
            entry(17, "cat", (2, 0, 5, 6), area=20.5, iscrowd=0),
            entry("a17", 3, (3, 0, 5, 6), area=30),
            entry(9, "cat", (4, 0, 5, 6), area=40, iscrowd=False),
            entry(17, 3, (5, 0, 5, 6), area=50, iscrowd=True),
        ]
    )
    assert truth.image.tolist() == [0, 0, 1, 2, 2]
    assert truth.category.tolist() == [1, 0, 0, 0, 1]
    assert truth.bbox.tolist() == [[x, 0, 5, 6] for x in (2, 5, 3, 1, 4)]
    assert truth.area.tolist() == [20.5, 50, 30, 10, 40]
    assert truth.crowd.tolist() == [False, True, False, True, False]
    assert (truth.image.dtype, truth.category.dtype) == (np.int64, np.int32)
    assert (truth.bbox.dtype, truth.area.dtype, truth.crowd.dtype) == (float, float, bool)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ({}, (1, 0, 0, 0)),
        (entry(18), (1, 0, 0, 0)),
        (entry(True), (1, 0, 0, 0)),
        (entry(18, 4), (1, 0, 0, 0)),  # counted once
        (entry(17, 4), (0, 1, 0, 0)),
        ({"image_id": 17, "bbox": [1, 2, 3, 4]}, (0, 1, 0, 0)),
        (entry(17, 4, (1, 2)), (0, 1, 0, 0)),
    ],
)
def test_unknown_images_and_categories_are_left_out_and_counted(annotation, expected):
    builder, truth = build([annotation])
    assert len(truth) == 0
    assert counts(builder) == expected


@pytest.mark.parametrize(
    "bbox",
    [
        [],
        None,
        "1234",
        [1, 2, 3],
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 4, None],
        [1e300, 2, 3, 4],
        [1, 2, "3", 4],
        [1, 2, None, 4],
        [1, 2, True, 4],
        [1, 2, float("nan"), 4],
        [float("inf"), 2, 3, 4],
        [1, 2, 10**400, 4],
        [1, 2, -3, 4],
        [1, 2, 3, -0.5],
    ],
)
def test_malformed_boxes_are_left_out_and_the_first_is_named(bbox):
    bad = [dict(entry(id=number), bbox=bbox) for number in (5, "six")]
    builder, truth = build([entry(area=1), *bad, entry(area=2)])
    assert truth.area.tolist() == [1, 2]
    assert counts(builder) == (0, 0, 2, 0)
    assert "the first has id 5" in str(next(iter(builder.findings)))


def test_rotated_boxes_where_upright_ones_are_to_be_found_are_counted_by_themselves():
    builder, truth = build([entry(bbox=(1, 2, 3, 4, 0.5)), entry(area=1)])
    assert truth.area.tolist() == [1]
    assert counts(builder) == (0, 0, 0, 0)
    assert builder.findings.count(Problem.FIVE) == 1


def test_a_missing_bbox_is_malformed_and_names_a_string_id_as_json():
    builder, truth = build([{"image_id": 17, "category_id": 3, "id": "x"}])
    assert len(truth) == 0
    assert 'the first has id "x"' in str(next(iter(builder.findings)))


@pytest.mark.parametrize("bbox", [(-5, -6.5, 0, 0), (1e9, 0, 3, 0)])
def test_boxes_of_zero_size_and_outside_of_the_image_are_kept(bbox):
    builder, truth = build([entry(bbox=bbox, area=1)])
    assert truth.bbox.tolist() == [list(bbox)]
    assert counts(builder) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("others", "area", "missing"),
    [
        ({}, 12, 1),  # 3 * 4
        ({"area": None}, 12, 1),
        ({"area": float("nan")}, 12, 1),
        ({"area": "7"}, 12, 1),
        ({"area": 0}, 0, 0),
        ({"area": 7.5}, 7.5, 0),
    ],
)
def test_a_missing_area_is_that_of_the_box(others, area, missing):
    builder, truth = build([entry(**others)])
    assert truth.area.tolist() == [area]
    assert builder.findings.count(Problem.AREA) == missing


def test_ignore_has_no_effect_as_in_pycocotools():
    _, truth = build([entry(ignore=1), entry(ignore=0, iscrowd=1)])
    assert truth.crowd.tolist() == [False, True]


def test_batches_make_no_difference():
    entries = [entry(image, area=n) for n, image in enumerate([9, 17, "a17", 9, 17])]
    builder = GroundTruthBuilder(IMAGES, CATEGORIES)
    for part in (entries[:2], [], entries[2:]):
        builder.add(part)
    assert builder.build().area.tolist() == build(entries)[1].area.tolist() == [1, 4, 2, 0, 3]


@given(st.lists(st.tuples(st.sampled_from([17, "a17", 9]), st.integers(0, 99)), max_size=30))
def test_columns_stay_together(rows):
    _, truth = build(
        [entry(i, 3, (n, n + 1, n + 2, n + 3), area=n, iscrowd=n % 2) for i, n in rows]
    )
    expected = sorted(((IMAGES[json.dumps(i)], n) for i, n in rows), key=lambda row: row[0])
    assert list(zip(truth.image.tolist(), truth.area.tolist(), strict=True)) == expected
    assert truth.bbox.tolist() == [[n, n + 1, n + 2, n + 3] for _, n in expected]
    assert truth.crowd.tolist() == [n % 2 == 1 for _, n in expected]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.array([1, 0])}, "not sorted"),
        ({"area": np.zeros(3)}, "2 rows"),
        ({"bbox": np.zeros((2, 5))}, "2 rows"),
    ],
)
def test_columns_that_disagree_are_refused(changed, message):
    columns = {
        "image": np.array([0, 0]),
        "category": np.zeros(2, np.int32),
        "bbox": np.zeros((2, 4)),
        "area": np.zeros(2),
        "crowd": np.zeros(2, bool),
    }
    with pytest.raises(ValueError, match=message):
        GroundTruth(**(columns | changed))


@pytest.mark.parametrize(
    ("ids", "ranks"),
    [
        ([], []),
        (["10", "9", "-1"], [2, 1, 0]),  # as numbers, not as text
        (['"10"', '"9"', '"1"'], [1, 2, 0]),  # as text
        (['"B"', '"a"', '"\\u00e9"', '"z"'], [0, 1, 3, 2]),  # by code point, escapes read
        (['"1"', "2", "1.5"], [2, 1, 0]),
    ],
)
def test_image_ranks(ids, ranks):
    assert image_ranks(ids).tolist() == ranks
    assert image_ranks(ids).dtype == np.int64
