from __future__ import annotations

import hashlib
import json

import pytest

from odtk_ray.datasets.coco import file_digest, read_coco, read_truth
from odtk_ray.errors import OdtkError, UsageError

CATEGORIES = [{"id": 7, "name": "seven"}, {"id": 2, "name": "two"}]


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "images"


def write(folder, **document):
    path = folder.parent / "coco.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def image(i, name, **more):
    return {"id": i, "file_name": name, "width": 640, "height": 480} | more


def test_images_in_order_of_the_file(folder):
    entries = [image(2**62, "b.jpg", note="ä"), image("x9", "sub/c.jpg"), image(-3, "a.jpg")]
    path = write(folder, info={}, images=entries, annotations=[], categories=CATEGORIES)
    found = read_coco(path, str(folder))
    assert found.records["image_id"].to_pylist() == [str(2**62), '"x9"', "-3"]
    assert found.records["index"].to_pylist() == [0, 1, 2]
    assert found.records["path"].to_pylist()[1] == str(folder / "sub/c.jpg")
    assert [json.loads(e) for e in found.records["entry"].to_pylist()] == entries
    assert found.categories == CATEGORIES
    assert found.has_truth
    assert found.digest == hashlib.sha256((folder.parent / "coco.json").read_bytes()).hexdigest()
    assert found.digest == file_digest(path)


def test_equal_numbers_are_equal_ids(folder):
    entries = [image(0.0, "b.jpg"), image(10**30, "sub/c.jpg"), image("1", "a.jpg")]
    boxes = [
        {"id": n, "image_id": i, "category_id": c, "bbox": [1, 2, 3, 4], "area": n}
        for n, (i, c) in enumerate([(0, 7.0), (-0.0, 2), (1e30, 7), ("1", 2.0), (10**30, 7)])
    ]
    categories = [{"id": 7, "name": "seven"}, {"id": 2.0, "name": "two"}]
    path = write(folder, images=entries, annotations=boxes, categories=categories)
    found = read_coco(path, str(folder))
    ids = found.records["image_id"].to_pylist()
    assert ids == ["0", str(10**30), '"1"']
    assert [json.loads(e) for e in found.records["entry"].to_pylist()] == entries
    truth, _ = read_truth(path, {text: n for n, text in enumerate(ids)}, {"7": 0, "2": 1})
    # 1e30 is 10^30 + 19884624838656, another number.
    assert truth.area.tolist() == [0, 1, 4, 3]
    assert truth.category.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "size", [{}, {"width": "640"}, {"width": 0}, {"width": 2.5}, {"width": -1}, {"width": True}]
)
def test_unusable_sizes_are_read_from_the_file_later(folder, size):
    entry = {"id": 1, "file_name": "a.jpg"} | size
    found = read_coco(write(folder, images=[entry]), str(folder))
    assert found.records["width"].to_pylist() == [0]
    assert not found.has_truth
    assert found.categories is None


def test_limit_takes_the_first(folder):
    path = write(folder, images=[image(1, "b.jpg"), image(2, "gone.jpg")])
    assert read_coco(path, str(folder), limit=1).records["file_name"].to_pylist() == ["b.jpg"]


def test_missing_files(folder):
    path = write(folder, images=[image(1, "gone.jpg"), image(2, "a.jpg"), image(3, "no/x.jpg")])
    with pytest.raises(UsageError, match=r"2 of 3 images .* are not in .*: the first is gone\.jpg"):
        read_coco(path, str(folder))
    found = read_coco(path, str(folder), allow_missing=True)
    assert found.records["file_name"].to_pylist() == ["a.jpg"]
    assert found.records["index"].to_pylist() == [0]
    assert found.missing == ["1", "3"]
    assert found.notes == ["left out 2 images whose files are missing"]


def test_all_files_missing_is_wrong_with_allow_missing_too(folder):
    path = write(folder, images=[image(1, "gone.jpg")])
    with pytest.raises(UsageError, match="1 of 1 image "):
        read_coco(path, str(folder), allow_missing=True)


@pytest.mark.parametrize(
    "name",
    ["../secret.jpg", "/etc/passwd", "sub/../../secret.jpg", "link.jpg", "out/secret.jpg", ".."],
)
@pytest.mark.parametrize("allow_missing", [False, True])
def test_names_never_leave_the_folder(folder, name, allow_missing):
    (folder.parent / "secret.jpg").write_bytes(b"x")
    (folder / "link.jpg").symlink_to(folder.parent / "secret.jpg")
    (folder / "out").symlink_to(folder.parent)
    path = write(folder, images=[image(1, "a.jpg"), image(2, name)])
    with pytest.raises(UsageError, match="leads out of the image folder"):
        read_coco(path, str(folder), allow_missing=allow_missing)


def test_images_at_a_uri(folder):
    root = f"file://{folder}"
    found = read_coco(write(folder, images=[image(1, "sub/c.jpg"), image(2, "a.jpg")]), root)
    assert found.records["path"].to_pylist() == [f"{folder}/sub/c.jpg", f"{folder}/a.jpg"]
    for name in ("../secret.jpg", "/etc/passwd"):
        with pytest.raises(UsageError, match="leads out of the image folder"):
            read_coco(write(folder, images=[image(1, name)]), root)


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize(
    "name",
    ["sub/../a.jpg", "./a.jpg", "inner.jpg", "sub2/c.jpg", "../{0.name}/a.jpg", "{0}/a.jpg"],
)
def test_names_that_stay_inside_are_fine(folder, name, scheme):
    (folder / "inner.jpg").symlink_to(folder / "sub" / "c.jpg")
    (folder / "sub2").symlink_to(folder / "sub")
    path = write(folder, images=[image(1, name.format(folder))])
    assert read_coco(path, f"{scheme}{folder}").missing == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a usable COCO annotation file"),
        ("not json", "not a usable COCO annotation file"),
        ("[]", "not a usable COCO annotation file"),
        ("{}", "it has no `images`"),
        ('{"images": []}', "`images` is empty"),
        ('{"images": {}}', "its `images` is not a list"),
        ('{"images": [3]}', "is not an object"),
        ('{"images": [], "annotations": {}}', "its `annotations` is not a list"),
        (r'{"images": [{"id": 1, "file_name": "a\u0000b/c.jpg"}]}', "has no usable file_name"),
        ('{"images": [{"id": 1}]}', "image 1 has no usable file_name"),
        (r'{"images": [{"id": 1, "file_name": "\ud800.jpg"}]}', "image 1 has no usable file_name"),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1}, {"id": 1}]}',
            "two of its categories have the same id",
        ),
        ('{"images": [{"file_name": "a.jpg"}]}', "the id of a.jpg is null"),
        ('{"images": [{"id": 1.5, "file_name": "a.jpg"}]}', "is 1.5"),
        ('{"images": [{"id": true, "file_name": "a.jpg"}]}', "is true, neither text nor a whole"),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]}',
            r"1 image id occurs twice \(first: 1\)",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1.0, "file_name": "b.jpg"}]}',
            r"1 image id occurs twice \(first: 1\)",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1}, {"id": 1.0}]}',
            "two of its categories have the same id",
        ),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}', "no `categories`"),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{}]}',
            "id of category null",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": true}]}',
            "is true, neither text nor a whole number",
        ),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [3]}', "is not an object"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}', "not a usable COCO annotation file"),
    ],
)
def test_unusable_files(folder, text, message):
    path = folder.parent / "coco.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_coco(str(path), str(folder))


def test_no_annotation_file(folder):
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        read_coco(str(folder / "gone.json"), str(folder))


def test_truth_and_remarks(folder):
    boxes = [
        {"id": 1, "image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 10, "iscrowd": 0},
        {"id": 2, "image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4]},
        {"id": 3, "image_id": 5, "category_id": 99, "bbox": [1, 2, 3, 4]},
        {"id": 4, "image_id": 8, "category_id": 7, "bbox": [1, 2, 3]},
        {"id": 5, "image_id": 6, "category_id": 7, "bbox": [1, 2, 3, 4]},
        {"id": 6, "image_id": 5, "category_id": 7, "bbox": [1, 2, 3, 4, 0.5]},
    ]
    path = write(folder, annotations=boxes, images=[])
    truth, remarks = read_truth(path, {"5": 0, "8": 1}, {"7": 0, "2": 1})
    assert truth.image.tolist() == [0, 0]
    assert truth.category.tolist() == [1, 1]
    assert truth.area.tolist() == [10, 12]
    assert [str(finding) for finding in remarks] == [
        "image_id belongs to no image of the file: 1 annotation, the first has id 5",
        "category_id belongs to no category of the file: 1 annotation, the first has id 3",
        "bbox is not 4 or 5 finite numbers, or has a negative side: 1 annotation, "
        "the first has id 4",
        "no area: width * height counts: 1 annotation, the first has id 2",
        "bbox has five numbers: a rotated box, left out without --rotated-bbox: 1 annotation, "
        "the first has id 6",
    ]


def test_remarks_about_rotated_boxes(folder):
    common = {"image_id": 5, "category_id": 2, "area": 9}
    boxes = [
        common | {"id": 1, "segmentation": [[0, 0, 1e9, 0, 1e9, 1e9, 0, 1e9]]},
        common | {"id": 2, "bbox": [1, 2, 3, 4]},
        common | {"id": 3, "bbox": [1, 2, 3, 4, 0.5]},
        common | {"id": 4, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 3, 2, 3, 5, 1, 5]]},
    ]
    path = write(folder, annotations=boxes, images=[])
    truth, remarks = read_truth(path, {"5": 0}, {"2": 0}, rotated=True)
    assert len(truth) == 3
    assert [str(finding) for finding in remarks] == [
        "coordinates are beyond 1,000,000 pixels: 1 annotation, the first has id 1\n"
        "  hint: correct them: rotated boxes so far away are not evaluated",
        "bbox has no theta: 0 is taken: 1 annotation, the first has id 2",
        "no segmentation of polygons: the corners of the box count: 2 annotations, "
        "the first has id 2",
    ]


def test_annotations_that_are_no_objects_are_said(folder):
    path = write(folder, annotations=[None, 3], images=[])
    assert [str(finding) for finding in read_truth(path, {}, {})[1]] == [
        "entry is not an object: 2 entries, the first is null in `annotations`"
    ]


def test_annotations_that_break_off_are_said(folder):
    path = folder.parent / "coco.json"
    path.write_text('{"images": [], "annotations": [{"id": 1 "image_id": 2}]}', encoding="utf-8")
    with pytest.raises(OdtkError, match="cannot score against"):
        read_truth(str(path), {}, {})
