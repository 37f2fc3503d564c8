"""What `infer` and `doctor` say alike about ground truth that is probably not what was meant."""

from __future__ import annotations

import json

import pytest
from synthetic import picture

from odtk_ray.checks.annotations import examine
from odtk_ray.datasets.classes import map_classes
from odtk_ray.datasets.coco import read_coco, read_truth
from odtk_ray.datasets.ids import id_text


def entry(number, **changes):
    box = {"bbox": [20, 10, 30, 40], "area": 1200, "iscrowd": 0}
    return {"id": number, "image_id": number % 2, "category_id": 1} | box | changes


def document(**changes):
    """Two images, three boxes of one category; `changes` go to all boxes."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 120, "height": 100} for n in range(2)]
    boxes = [entry(n, **changes) for n in range(3)]
    return {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "tree"}]}


@pytest.fixture
def said(tmp_path):
    """Returns what evaluation and doctor say about a file, in this order."""
    for n in range(2):
        picture(n, 120, 100).save(tmp_path / f"{n}.png")

    def both(content, rotated=False):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        dataset = read_coco(str(path), str(tmp_path))
        images = {text: n for n, text in enumerate(dataset.records["image_id"].to_pylist())}
        places = {id_text(c["id"]): n for n, c in enumerate(dataset.categories)}
        _, remarks = read_truth(str(path), images, places, rotated)
        report = examine(str(path), str(tmp_path), rotated=rotated)
        evaluated = [str(finding) for finding in dataset.findings + remarks]
        return evaluated, [str(finding) for finding in report.findings]

    return both


def test_nothing_is_said_about_a_good_file(said):
    assert said(document()) == ([], [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_id": "0"}, "image_id is text and its image's id a number"),
        ({"category_id": "1"}, "category_id is text and its category's id a number"),
        ({"image_id": 7}, "image_id belongs to no image of the file"),
        ({"image_id": "7"}, "image_id belongs to no image of the file"),
        ({"image_id": None}, "image_id belongs to no image of the file"),
        ({"category_id": 2}, "category_id belongs to no category of the file"),
    ],
)
def test_annotations_without_image_or_category(said, changes, words):
    evaluated, examined = said(document(**changes))
    assert evaluated == examined
    assert len(evaluated) == 1
    assert evaluated[0].startswith(words)
    assert ": 3 annotations, the first has id 0" in evaluated[0]


def test_numbers_where_the_ids_are_text(said):
    content = document()
    for image in content["images"]:
        image["id"] = str(image["id"])
    evaluated, examined = said(content)
    assert evaluated == examined
    assert "or the other way round: 3 annotations, the first has id 0" in evaluated[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iscrowd": 1, "segmentation": {"counts": [0, 9], "size": [3, 3]}}, "are crowd regions"),
        ({"bbox": [0, 0.1, 0.5, 1.0]}, "all boxes lie between 0 and 1"),
    ],
)
@pytest.mark.parametrize("rotated", [False, True])
def test_what_all_annotations_have_in_common(said, changes, words, rotated):
    content = document(**changes)
    evaluated, examined = said(content, rotated)
    (one,) = [line for line in evaluated if words in line]
    assert one in examined
    assert ": 3 annotations, the first has id 0" in one
    content["annotations"].append(entry(9))
    assert not any(words in line for line in [*said(content, rotated)[0], *said(content)[1]])


def test_boxes_of_images_that_there_are_not_count_for_neither(said):
    content = document(bbox=[0, 0.1, 0.5, 1.0])
    content["annotations"].append(entry(9) | {"image_id": 77})
    for lines in said(content):
        assert any("all boxes lie between 0 and 1" in x and ": 3 annotations" in x for x in lines)


def test_outlines_between_0_and_1(said):
    ring = [0.1, 0.2, 0.9, 0.2, 0.9, 1, 0.1, 1]
    evaluated, examined = said(document(bbox=None, segmentation=[ring]), rotated=True)
    assert any("all boxes lie between 0 and 1" in line for line in evaluated)
    assert any("all boxes lie between 0 and 1" in line for line in examined)


@pytest.mark.parametrize(("used", "position"), [(0, 0), (1.0, 1), (9, 2)])
def test_categories_of_one_name(said, tmp_path, used, position):
    content = document(category_id=used)
    names = ((0, "tree"), (1, "tree"), (9, "bush"))
    content["categories"] = [{"id": n, "name": name} for n, name in names]
    evaluated, examined = said(content)
    assert evaluated == examined
    assert evaluated == [
        'several categories have one name: 1 name, the first is "tree" (ids 0, 1)\n'
        "  hint: rename or remove those that no annotation uses: "
        "a model has one class of that name"
    ]
    dataset = read_coco(str(tmp_path / "a.json"), str(tmp_path))
    assert dataset.used == {str(int(used))}
    found = map_classes(2, ["tree", "bush"], None, dataset.categories, dataset.used)
    assert found.positions == [position % 2, 2]


def test_images_that_are_left_out_are_in_the_file(said, tmp_path):
    said(document())
    path = str(tmp_path / "a.json")
    _, remarks = read_truth(path, {"0": 0}, {"1": 0})
    assert "belongs to no image of the file: 1 annotation, the first has id 1" in str(remarks[0])
    assert read_truth(path, {"0": 0}, {"1": 0}, partial=True)[1] == []
