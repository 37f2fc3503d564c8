"""The tables of a report."""

import dataclasses

import numpy as np
import pytest
from scenes import write_scene

import odtk_ray
from odtk_ray.datasets.ground_truth import Category
from odtk_ray.reports.tables import class_table, confusion, error_rows, size_table


@pytest.fixture
def analysis(tmp_path):
    detections, options = write_scene(tmp_path)
    return odtk_ray.evaluate(detections, **options).analysis


@pytest.mark.parametrize("classes", [1, 4, 25, 26, 60])
def test_the_matrix_keeps_all_counts_and_shows_the_most_confused_classes(analysis, classes):
    rng = np.random.default_rng(classes)
    cells = rng.integers(0, 9, (classes + 1, classes + 1))
    cells[-1, -1] = 0
    worst = classes // 2
    cells[worst] += 50
    names = tuple(Category(i, f"c{i}") for i in range(classes))
    made = confusion(dataclasses.replace(analysis, categories=names, confusion=cells))
    shown = np.array([[count for count, _, _ in row] for _, row in made.rows])
    assert shown.sum() == cells.sum()
    assert len(made.names) == min(classes + 1, 27)
    assert f"c{worst}" in made.names
    assert made.left_out == max(classes - 25, 0)
    diagonal = [row[i] for i, (_, row) in enumerate(made.rows)]
    assert all(right for _, _, right in diagonal)
    if classes <= 25:
        assert np.array_equal(shown, cells)


def test_each_class_and_size_has_a_row(analysis):
    classes, sizes = class_table(analysis), size_table(analysis)
    assert [name for name, _ in classes.rows] == [c.name for c in analysis.categories]
    assert [name for name, _ in sizes.rows] == ["small", "medium", "large"]
    for table in (classes, sizes):
        assert all(len(cells) == len(table.heading) - 1 for _, cells in table.rows)
    (first, *_), (point, *_) = classes.rows[0][1], analysis.points
    assert first.text == f"{analysis.metrics.classes[0].ap:.3f}"
    assert classes.rows[0][1][-1].text == f"{point.f1:.3f}"


def test_the_costliest_error_has_the_longest_bar(analysis):
    rows = error_rows(analysis)
    costs = [row.cost for row in rows]
    assert costs == [error.ap for error in analysis.errors]
    assert max(row.share for row in rows) == 1
    assert np.argmax([row.share for row in rows]) == np.argmax(costs)
