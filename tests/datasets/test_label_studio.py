"""Predictions for Label Studio."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from odtk_ray.datasets.convert import Conversion, convert
from odtk_ray.datasets.image_boxes import outlines
from odtk_ray.errors import UsageError

IMAGES = [{"id": i, "file_name": f"d/{i} a.jpg", "width": 400, "height": 300} for i in range(3)]
CATEGORIES = [{"id": 5, "name": "ship"}, {"id": 7}]


def tasks(tmp_path, annotations, images=IMAGES, prefix="."):
    document = {"images": images, "categories": CATEGORIES, "annotations": annotations}
    source = tmp_path / "found.json"
    source.write_text(json.dumps(document), encoding="utf-8")
    target = str(tmp_path / "tasks.json")
    said = convert(Conversion(str(source), target, prefix, format="labelstudio"))
    with open(target, encoding="utf-8") as stream:
        return json.load(stream), said


def entry(image, box, score=0.5, category=5):
    return {"id": 1, "image_id": image, "category_id": category, "bbox": box, "score": score}


def test_the_worked_example_of_the_conventions(tmp_path):
    """The box of 80 x 20 pixels at (100, 200), turned by 0.3 about its centre (140, 210).

    Its top left corner is 40 to the left and 10 above the centre. Turned clockwise, y down:
    -40 cos 0.3 + 10 sin 0.3 = -38.2135 + 2.9552 = -35.2583, that is x = 104.7417, 26.1854%;
    -40 sin 0.3 - 10 cos 0.3 = -11.8208 - 9.5534 = -21.3742, that is y = 188.6258, 62.8753%.
    """
    found, said = tasks(tmp_path, [entry(1, [100, 200, 80, 20, 0.3], 0.75)])
    (result,) = found[1]["predictions"][0]["result"]
    value = result["value"]
    assert (round(value["x"], 4), round(value["y"], 4)) == (26.1854, 62.8753)
    assert (value["width"], round(value["height"], 4)) == (20.0, 6.6667)  # 80/400, 20/300
    assert round(value["rotation"], 4) == 17.1887  # 0.3 x 180 / pi
    assert value["rectanglelabels"] == ["ship"]
    assert (result["original_width"], result["original_height"]) == (400, 300)
    assert (result["score"], found[1]["predictions"][0]["score"]) == (0.75, 0.75)
    assert said == [f"wrote {tmp_path}/tasks.json: 3 tasks, 1 box"]


def test_boxes_come_back(tmp_path):
    """By the formula of labelstud.io: x and y fixed, width and height turned by the rotation."""
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.uniform(0, 200, (40, 4)), rng.uniform(-math.pi, math.pi, 40)])
    found, _ = tasks(tmp_path, [entry(0, box.tolist()) for box in boxes])
    for box, result in zip(boxes, found[0]["predictions"][0]["result"], strict=True):
        value = result["value"]
        x, w = (value[side] * 4 for side in ("x", "width"))
        y, h = (value[side] * 3 for side in ("y", "height"))
        assert 0 <= value["rotation"] < 360
        turn = math.radians(value["rotation"])
        along = w * np.array([math.cos(turn), math.sin(turn)])
        across = h * np.array([-math.sin(turn), math.cos(turn)])
        corners = np.array([x, y]) + np.array([0 * along, across, along + across, along])
        np.testing.assert_allclose(corners, outlines(box[None])[0], atol=1e-9)


def test_every_image_is_a_task_in_the_order_of_the_file(tmp_path):
    boxes = [entry(2, [1, 2, 3, 4]), entry(0, [1, 2, 3, 4], category=7), entry(2, [5, 6, 7, 8])]
    found, _ = tasks(tmp_path, boxes)
    assert [task["data"]["image"] for task in found] == [image["file_name"] for image in IMAGES]
    results = [task["predictions"][0]["result"] for task in found]
    assert [[r["value"]["rectanglelabels"][0] for r in some] for some in results] == [
        ["class 7"],
        [],
        ["ship", "ship"],
    ]
    assert results[0][0]["value"]["rotation"] == 0


@pytest.mark.parametrize("prefix", ["/data/local-files/?d=", "s3://bucket/p", "s3://bucket/p/"])
def test_images_may_have_a_place(tmp_path, prefix):
    found, _ = tasks(tmp_path, [], prefix=prefix)
    expected = {"=": prefix, "p": prefix + "/", "/": prefix}[prefix[-1]] + "d/0%20a.jpg"
    assert found[0]["data"]["image"] == expected


def test_labels_have_no_score(tmp_path):
    label = entry(0, [1, 2, 3, 4])
    del label["score"]
    (prediction,) = tasks(tmp_path, [label])[0][0]["predictions"]
    assert "score" not in prediction
    assert "score" not in prediction["result"][0]


BOX = [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([{"id": 0, "file_name": "a.jpg"}], [entry(0, BOX)], "image a.jpg has no width and height"),
        ([{"id": 0}], [], "image 0 has no usable file_name"),
        ([{"id": 0, "file_name": "a"}] * 2, [], "two images have the id 0"),
        (IMAGES, [entry(9, BOX)], "annotation 1 belongs to no image of the file"),
        (IMAGES, [entry(0, BOX, category=6)], "annotation 1 belongs to no category of the file"),
        (IMAGES, [entry(0, BOX, "high")], "annotation 1 has no usable score"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, images, annotations, message):
    with pytest.raises(UsageError, match=message):
        tasks(tmp_path, annotations, images)
    assert not (tmp_path / "tasks.json").exists()


def test_failed_images_need_no_size(tmp_path):
    failed = {"id": 0, "file_name": "a.jpg", "width": 0, "height": 0}
    assert len(tasks(tmp_path, [], [failed])[0]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "x.xml", "format": "labelstudio"}, "its name does not end in .json"),
        ({"target": "x.json", "format": "cvat"}, "its name does not end in .xml"),
        ({"target": "x.json", "format": "dota"}, ".json is not a format"),
        ({"target": "x.xml", "writes": "coco"}, "--to is for COCO files, and x.xml is none"),
        ({"target": "x.json", "crs": "source"}, "--crs is for GeoJSON, and x.json is none"),
        ({"target": "found.json", "format": "labelstudio"}, "would replace what SOURCE"),
    ],
)
def test_options_that_do_not_fit(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        convert(Conversion("found.json", **options))


def test_boxes_of_four_numbers_lie_around(tmp_path):
    """The quarter turn of 41 x 21 pixels about (60, 40): 20 to the sides, 40 up and down."""
    source, target = tmp_path / "found.json", tmp_path / "coco.json"
    box = entry(0, [40, 30, 41, 21, math.pi / 2])
    document = {"images": IMAGES, "categories": CATEGORIES, "annotations": [box]}
    source.write_text(json.dumps(document), encoding="utf-8")
    convert(Conversion(str(source), str(target), writes="coco"))
    (written,) = json.loads(target.read_text(encoding="utf-8"))["annotations"]
    assert np.round(written["bbox"], 9).tolist() == [50, 20, 21, 41]
