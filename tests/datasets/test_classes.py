from __future__ import annotations

import pytest

from odtk_ray.datasets.classes import map_classes
from odtk_ray.errors import UsageError

FILE = [{"id": 9, "name": "nine"}, {"id": 5, "name": "five"}, {"id": 7, "name": "seven"}]


@pytest.mark.parametrize(
    ("names", "own_ids", "categories", "ids", "shown", "positions"),
    [
        (None, None, None, ["0", "1"], ["class 0", "class 1"], []),
        (["a", "b"], None, None, ["0", "1"], ["a", "b"], []),
        (["a", "b"], [4, "x"], None, ["4", '"x"'], ["a", "b"], []),
        (None, [4, "x"], None, ["4", '"x"'], ["class 4", "class x"], []),
        # The file's order, which need not be sorted, decides as in ODTK ...
        (None, None, FILE, ["9", "5"], ["nine", "five"], [0, 1]),
        (["a", "b"], None, FILE, ["9", "5"], ["nine", "five"], [0, 1]),
        # ... unless the model's own names say which is which.
        (["seven", "nine"], [1, 2], FILE, ["7", "9"], ["seven", "nine"], [2, 0]),
    ],
)
def test_mapping(names, own_ids, categories, ids, shown, positions):
    found = map_classes(2, names, own_ids, categories)
    assert found.ids == ids
    assert found.names == shown
    assert found.positions == positions


def test_outputs_get_the_files_categories_or_the_models_own():
    assert map_classes(2, None, None, FILE).categories == FILE
    unnamed = map_classes(2, None, [3, "x"], None).categories
    assert unnamed == [{"id": 3, "name": "class 3"}, {"id": "x", "name": "class x"}]
    assert map_classes(1, ["a"], [3], None).categories == [{"id": 3, "name": "a"}]


def test_the_mapping_is_said():
    note = map_classes(3, ["x", "y", "z"], None, FILE).note
    assert "in the order of the file: 0 = 9 nine, 1 = 5 five, 2 = 7 seven" in note
    assert "the checkpoint calls its classes x, y, z" in note
    assert map_classes(80, None, None, None).note == "category_id is the class index, 0 to 79"
    named = map_classes(6, list("abcdef"), None, None).note
    assert named.endswith(
        "the class index: 0 = 0 a, 1 = 1 b, 2 = 2 c, 3 = 3 d, 4 = 4 e, ... (6 classes)"
    )


def test_more_classes_than_categories_is_refused():
    with pytest.raises(UsageError, match="4 classes, the annotation file 3 categories"):
        map_classes(4, None, None, FILE)
