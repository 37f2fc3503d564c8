"""CVAT's XML."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from odtk_ray.datasets.convert import Conversion, convert
from odtk_ray.errors import UsageError

NAME = "a \"b\" <c> & 'd'.jpg"
IMAGES = [
    {"id": 9, "file_name": NAME, "width": 400, "height": 300},
    {"id": 3, "file_name": "failed.jpg", "width": 0, "height": 0},
]
ANNOTATIONS = [
    {
        "id": 1,
        "image_id": 9,
        "category_id": 1,
        "bbox": [100, 200, 80, 20, 0.3],
        "score": 0.123456789,
    },
    {"id": 2, "image_id": 9, "category_id": 1, "bbox": [10.5, 20, 30, 40]},
]


def written(tmp_path, images=IMAGES, name="a<b"):
    document = {
        "images": images,
        "categories": [{"id": 1, "name": name}],
        "annotations": ANNOTATIONS,
    }
    source, target = tmp_path / "found.json", tmp_path / "found.xml"
    source.write_text(json.dumps(document), encoding="utf-8")
    assert convert(Conversion(str(source), str(target))) == [f"wrote {target}: 2 images, 2 boxes"]
    return ElementTree.parse(target).getroot()


def test_boxes_are_not_turned_and_have_their_rotation(tmp_path):
    root = written(tmp_path)
    assert root.findtext("version") == "1.1"
    assert root.findtext("meta/task/labels/label/name") == "a<b"
    first, second = root.findall("image")
    assert first.attrib == {"id": "0", "name": NAME, "width": "400", "height": "300"}
    assert second.attrib == {"id": "1", "name": "failed.jpg"}
    assert len(second) == 0
    turned, upright = first.findall("box")
    sides = [turned.get(k) for k in ("xtl", "ytl", "xbr", "ybr")]
    assert sides == ["100.00", "200.00", "180.00", "220.00"]
    assert turned.get("rotation") == "17.1887"  # 0.3 x 180 / pi, clockwise about the centre
    assert turned.get("label") == "a<b"
    assert turned.find("attribute").attrib == {"name": "score"}
    assert turned.findtext("attribute") == "0.123457"
    assert "rotation" not in upright.attrib
    assert upright.find("attribute") is None


@pytest.mark.parametrize("name", ["a\x01", "\ud800", "\uffff"])
def test_names_that_xml_cannot_hold(tmp_path, name):
    with pytest.raises(UsageError, match="XML cannot hold its characters"):
        written(tmp_path, name=name)
    assert not (tmp_path / "found.xml").exists()
