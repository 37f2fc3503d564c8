"""`odtk-ray doctor` and `odtk-ray convert` as a user calls them."""

from __future__ import annotations

import contextlib
import json
import math
import struct
import warnings

import numpy as np
import pytest
import shapely
from effort import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from PIL import Image
from synthetic import picture
from test_infer import run

from odtk_ray.checks.annotations import examine
from odtk_ray.datasets.coco import read_coco, read_truth
from odtk_ray.datasets.ground_truth import Category
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.errors import UsageError
from odtk_ray.evaluation.coco_evaluator import CocoEvaluator
from odtk_ray.evaluation.overlap import BoxOverlap, MaskOverlap, PolygonOverlap
from odtk_ray.pictures.annotation_sheet import write_samples


def rotated_file(path, **changes):
    """Two images, three turned boxes; `changes` go to the second annotation."""
    boxes = [[30, 20, 41, 11, 0.5], [60, 50, 31, 13, -0.7], [20, 70, 25, 9, 1.2]]
    annotations = [
        {
            "id": 10 + n,
            "image_id": n % 2,
            "category_id": 3 + n % 2,
            "bbox": box,
            "segmentation": [corners(np.array([box])).ravel().tolist()],
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for n, box in enumerate(boxes)
    ]
    for key, value in changes.items():
        annotations[1][key] = value
        if value is None:
            del annotations[1][key]
    document = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": 120, "height": 100} for n in range(2)
        ],
        "categories": [{"id": 3, "name": "ship"}, {"id": 4, "name": "storage tank"}],
        "annotations": annotations,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return document


@pytest.fixture
def folder(tmp_path):
    for n in range(2):
        picture(n, 120, 100).save(tmp_path / f"{n}.png")
    return tmp_path


def doctor(folder, *flags):
    sheet = folder / "sheet.png"
    given = ("--annotations", folder / "a.json", "--images", folder, "--samples", sheet)
    return run("doctor", *given, "--rotated-bbox", *flags)


def test_a_healthy_file(folder):
    rotated_file(folder / "a.json")
    outcome = doctor(folder)
    assert outcome.exit_code == 0, outcome.output
    assert "2 images, 2 categories, 3 annotations, 3 of them turned" in outcome.stdout
    assert "nothing is wrong" in outcome.stdout
    sheet = np.asarray(Image.open(folder / "sheet.png"))
    assert sheet.shape == (404, 1080, 3)
    # The first tile: 1.5 times the longest side, centre (50, 25); theta 0.5 goes down to the right.
    corner = corners(np.array([[30, 20, 41, 11, 0.5]]))[0]
    side = 1.5 * np.ptp(corner, axis=0).max()
    for x, y in (corner + 0.5 - corner.mean(axis=0) + side / 2) * 360 / side:
        near = sheet[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].reshape(-1, 3)
        assert (near == (255, 64, 64)).all(axis=1).any()


MIRRORED = [corners(np.array([[60, 50, 31, 13, 0.7]])).ravel().tolist()]
BOX = [60, 50, 31, 13]
POINTS = corners(np.array([[*BOX, -0.7]]))[0].tolist()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"image_id": 9},
            1,
            "wrong: image_id belongs to no image of the file: 1 annotation, the first",
        ),
        ({"category_id": 9}, 1, "category_id belongs to no category of the file"),
        ({"bbox": [1, 2, -3, 4, 0]}, 1, "bbox is not 4 or 5 finite numbers"),
        ({"bbox": [500, 50, 31, 13, 0.1], "segmentation": None}, 1, "outside of its image"),
        ({"bbox": [60, 50, 31, 0.5, 0.1], "segmentation": None}, 1, "less than a pixel"),
        ({"bbox": [*BOX, -40.0], "segmentation": None}, 1, "theta is beyond 2 pi"),
        ({"segmentation": MIRRORED}, 1, "theta is positive clockwise, it goes anti-clockwise"),
        ({"segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]}, 1, "is not the box turned by theta"),
        ({"segmentation": [[0, 0, 9, 9, 18, 18, 9, 9]]}, 1, "segmentation has no area"),
        ({"bbox": BOX, "segmentation": None}, 0, "note: bbox has no theta"),
        ({"segmentation": None}, 0, "note: no segmentation of polygons"),
        ({"segmentation": POINTS}, 0, "note: segmentation of points instead of numbers"),
        ({"area": None}, 0, "note: no area"),
        ({"area": 10**400}, 0, "note: no area"),
        ({"bbox": BOX}, 0, "note: bbox has no theta: the segmentation counts"),
        ({"bbox": None}, 0, "note: no bbox: the segmentation counts"),
        ({"bbox": None, "segmentation": None}, 1, "wrong: bbox is not 4 or 5 finite numbers"),
        ({"bbox": "text"}, 1, "wrong: bbox is not 4 or 5 finite numbers"),
        ({"segmentation": [[0, 0, 1e9, 0, 1e9, 1e9, 0, 1e9]]}, 1, "are beyond 1,000,000 pixels"),
        ({"image_id": True}, 1, "image_id belongs to no image of the file"),
        ({"bbox": [*BOX, -40.0], "segmentation": None}, 1, "--from opencv"),
        ({"segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]]}, 1, "--from opencv"),
        ({"segmentation": MIRRORED}, 1, "hint: negate theta"),
    ],
)
def test_what_is_wrong_is_named(folder, changes, code, words):
    rotated_file(folder / "a.json", **changes)
    outcome = doctor(folder)
    assert outcome.exit_code == code, outcome.output
    assert words in outcome.stdout
    assert "the first has id 11" in outcome.stdout


@pytest.mark.parametrize("changes", [{"bbox": BOX}, {"bbox": None}])
def test_a_segmentation_without_theta_is_as_good_as_evaluation_takes_it(folder, changes):
    rotated_file(folder / "a.json", **changes)
    outcome = doctor(folder)
    assert "wrong" not in outcome.stdout.replace("nothing is wrong", "")
    assert "0 is taken" not in outcome.stdout


def test_axis_aligned_files(folder, photos, annotations):
    sheet = folder / "sheet.png"
    outcome = run("doctor", "--annotations", annotations, "--images", photos, "--samples", sheet)
    assert outcome.exit_code == 0, outcome.output
    assert Image.open(sheet).size == (1080, 808)
    rotated_file(folder / "a.json")
    given = ("--images", folder, "--samples", sheet)
    outcome = run("doctor", "--annotations", folder / "a.json", *given)
    assert outcome.exit_code == 0
    assert "left out without --rotated-bbox: 3 annotations" in outcome.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (None, "image has no usable file_name: 1 image, the first has id 1"),
        (5, "image has no usable file_name: 1 image, the first has id 1"),
        ("a\0b/c.png", "image has no usable file_name: 1 image, the first has id 1"),
        ("gone.png", 'image file is missing: 1 image, the first is "gone.png"'),
        (
            "no/\ud83d\ude00.png",
            r'image file is missing: 1 image, the first is "no/\ud83d\ude00.png"',
        ),
        ("../1.png", 'image leads out of the image folder: 1 image, the first is "../1.png"'),
        ("link.png", 'image leads out of the image folder: 1 image, the first is "link.png"'),
        ("note.png", 'image cannot be decoded: 1 image, the first is "note.png" (not an image'),
    ],
)
def test_pictures_that_a_run_would_refuse_are_wrong(folder, name, words):
    document = rotated_file(folder / "a.json", bbox=[60, 50, 31, 13, -0.7])
    document["images"][1]["file_name"] = name
    # Two on the picture that is wrong: images are counted, not annotations.
    document["annotations"].append(document["annotations"][1] | {"id": 20})
    (folder / "a.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "note.png").write_text("text", encoding="utf-8")
    (folder / "link.png").symlink_to("/etc/hostname")
    outcome = doctor(folder)
    assert outcome.exit_code == 1, outcome.output
    assert f"wrong: {words}" in outcome.stdout
    assert "hint: " in outcome.stdout


def test_without_any_picture_there_is_nothing_to_draw(folder):
    rotated_file(folder / "a.json")
    for n in range(2):
        (folder / f"{n}.png").unlink()
    outcome = doctor(folder)
    assert outcome.exit_code == 1
    assert 'wrong: image file is missing: 2 images, the first is "0.png"' in outcome.stdout
    assert not (folder / "sheet.png").exists()


def test_entries_that_are_no_objects_are_wrong(folder):
    document = rotated_file(folder / "a.json")
    document["images"].append("2.png")
    document["annotations"] += [None, 3]
    (folder / "a.json").write_text(json.dumps(document), encoding="utf-8")
    outcome = doctor(folder)
    assert outcome.exit_code == 1
    assert 'entry is not an object: 3 entries, the first is "2.png" in `images`' in outcome.stdout
    assert "2 images, 2 categories, 5 annotations" in outcome.stdout


def test_pictures_that_are_too_large_to_be_decoded_are_read_around_the_box(folder):
    side, start = 20_000, 512
    tags = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: start}
    tags |= {277: 1, 278: side, 279: side * side}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    with open(folder / "0.tif", "wb") as stream:  # zeros take no room on the disk
        stream.write(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4))
        for row in range(10_000, 10_100):
            stream.seek(start + row * side + 10_000)
            stream.write(b"\xff" * 100)
        stream.truncate(start + side * side)
    document = rotated_file(folder / "a.json")
    document["images"][0] |= {"file_name": "0.tif", "width": side, "height": side}
    del document["annotations"][1:]
    box = [10_000, 10_000, 100, 100, 0.5]
    outline = [corners(np.array([box])).ravel().tolist()]
    document["annotations"][0] |= {"bbox": box, "segmentation": outline}
    (folder / "a.json").write_text(json.dumps(document), encoding="utf-8")
    outcome = doctor(folder)
    assert outcome.exit_code == 0, outcome.output
    tile = np.asarray(Image.open(folder / "sheet.png"))[:360, :360]
    assert (tile[0, 0] == 0).all()
    assert (tile[200, 175] == 255).all()


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        ("sheet.jpg", "hint: give a name that ends in .png"),
        ("a.json", "hint: give a name that ends in .png"),
        ("same.PNG", "would replace what --annotations"),
        ("0.png", "it is an image of the file"),
        ("link/0.png", "it is an image of the file"),
        ("gone/sheet.png", "there is no folder"),
        ("folder.png", "it is a folder"),
    ],
)
def test_a_sheet_replaces_no_input_and_has_a_place(folder, sheet, words):
    rotated_file(folder / "same.PNG")
    rotated_file(folder / "a.json")
    (folder / "link").symlink_to(folder)
    (folder / "folder.png").mkdir()
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    given = ("--annotations", folder / "same.PNG", "--images", folder, "--rotated-bbox")
    outcome = run("doctor", *given, "--samples", folder / sheet)
    assert outcome.exit_code == 2, outcome.output
    assert words in outcome.stderr
    assert outcome.stdout == ""
    after = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert before == after


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a usable COCO annotation file"),
        ('{"images": []}', "it has no `images`"),
        ('{"images": [{"id": 1}, {"id": 1}], "categories": [{"id": 1}]}', "ids of `images` repeat"),
        (None, "cannot read"),
        ('{"images": null}', "its `images` is not a list"),
        ('{"images": [{"id": true}], "categories": [{"id": 1}]}', "ids of `images` repeat or are"),
        (
            '{"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": {}}',
            "its `annotations` is not a list",
        ),
    ],
)
def test_files_that_cannot_be_examined(folder, text, words):
    if text is not None:
        (folder / "a.json").write_text(text, encoding="utf-8")
    outcome = doctor(folder)
    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert "Traceback" not in outcome.stderr


NUMBERS = (
    st.floats() | st.integers(-200, 200) | st.integers() | st.sampled_from([10**400, -(10**30)])
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text(st.characters(), max_size=3) | NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=6,
)
RINGS = st.lists(st.lists(NUMBERS, min_size=6, max_size=8), min_size=1, max_size=2)
BOXES = st.lists(NUMBERS, min_size=4, max_size=5)
FIELDS = {
    "images": {"id": VALUES, "file_name": VALUES, "width": VALUES, "height": VALUES},
    "categories": {"id": VALUES, "name": VALUES},
    "annotations": {
        "id": VALUES,
        "image_id": VALUES,
        "category_id": VALUES,
        "bbox": VALUES | BOXES,
        "segmentation": VALUES | RINGS,
        "area": VALUES,
        "iscrowd": VALUES,
    },
}


@pytest.mark.parametrize("rotated", [False, True])
@given(data=st.data())
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_is_a_finding_and_no_failure(folder, rotated, data):
    """Doctor and the evaluation read any JSON value in any field."""
    document = rotated_file(folder / "a.json")
    for name, fields in FIELDS.items():
        for key in data.draw(st.sets(st.sampled_from(sorted(fields)), max_size=2), label=name):
            document[name][1][key] = data.draw(fields[key], label=key)
        if data.draw(st.integers(0, 9)) == 9:
            document[name][data.draw(st.integers(0, 1))] = data.draw(VALUES)
    (folder / "a.json").write_text(json.dumps(document), encoding="utf-8")
    path = str(folder / "a.json")
    with warnings.catch_warnings(), contextlib.suppress(UsageError):
        warnings.simplefilter("error")
        report = examine(path, str(folder), rotated=rotated)
        assert all(str(finding).isascii() for finding in report.findings)
        if report.samples:
            write_samples(report, str(folder), str(folder / "sheet.png"))
        dataset = read_coco(path, str(folder), allow_missing=True)
        places = {json.dumps(c["id"]): n for n, c in enumerate(dataset.categories)}
        ids = dataset.records["image_id"].to_pylist()
        truth, _ = read_truth(path, {key: n for n, key in enumerate(ids)}, places, rotated)
        sizes = np.full((len(ids), 2), 100)
        both = (
            [MaskOverlap(truth, sizes), PolygonOverlap(truth)] if rotated else [BoxOverlap(truth)]
        )
        for overlap in both:
            categories = [Category(c["id"], "") for c in dataset.categories]
            evaluator = CocoEvaluator(truth, categories, np.arange(len(ids)), overlap)
            box = np.array([[30, 20, 41, 11, 0.5][: 5 if rotated else 4]] * len(ids))
            ones = np.ones(len(ids), np.int64)
            evaluator.add(np.arange(len(ids)), ones, ones / 2, 0 * ones.astype(np.int32), box)
            assert -1 <= evaluator.result().stats["AP"] <= 1


# ------------------------------------------------------------------------------------- conversion


def shapes(document):
    return [
        shapely.Polygon(np.reshape(entry["segmentation"][0], (-1, 2)))
        for entry in document["annotations"]
    ]


def same_shapes(one, other, error):
    assert len(one["annotations"]) == len(other["annotations"])
    for a, b in zip(shapes(one), shapes(other), strict=True):
        assert a.symmetric_difference(b).area < error * a.length
    for document in (one, other):
        boxes = np.array([entry["bbox"] for entry in document["annotations"]])
        drawn = [shapely.Polygon(points) for points in corners(boxes)]
        for a, b in zip(shapes(document), drawn, strict=True):
            assert a.symmetric_difference(b).area < error * a.length


def test_to_dota_and_back(folder):
    before = rotated_file(folder / "a.json", iscrowd=1)
    assert run("convert", folder / "a.json", folder / "labels").exit_code == 0
    lines = (folder / "labels" / "1.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1
    *numbers, name, difficult = lines[0].split()
    assert (name, difficult) == ("storage-tank", "1")
    x, y = np.array(numbers, float).reshape(4, 2).T
    assert np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0  # clockwise, y down
    # corner for corner: the first is top left before the turn
    np.testing.assert_allclose(
        (x[0], y[0]), before["annotations"][1]["segmentation"][0][:2], atol=6e-4
    )
    outcome = run("convert", folder / "labels", folder / "b.json", "--images", folder)
    assert outcome.exit_code == 0, outcome.output
    assert "2 images, 3 annotations" in outcome.stdout
    after = json.loads((folder / "b.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in after["images"]] == ["0.png", "1.png"]
    assert after["images"][0]["width"] == 120
    assert [c["name"] for c in after["categories"]] == ["ship", "storage-tank"]
    before["annotations"].sort(key=lambda a: a["image_id"])  # DOTA's are image by image
    same_shapes(before, after, 0.001)
    assert [a["iscrowd"] for a in after["annotations"]] == [0, 0, 1]


def test_headers_difficult_and_shapes_that_are_no_rectangles(folder):
    labels = folder / "labels"
    labels.mkdir()
    (labels / "0.txt").write_text(
        "imagesource:GoogleEarth\ngsd:0.146\n\n10 10 50 12 48 30 9 28 plane\n", encoding="utf-8"
    )
    (labels / "1.txt").write_text("", encoding="utf-8")
    assert run("convert", labels, folder / "b.json", "--images", folder).exit_code == 0
    document = json.loads((folder / "b.json").read_text(encoding="utf-8"))
    (entry,) = document["annotations"]
    assert entry["segmentation"] == [[10, 10, 50, 12, 48, 30, 9, 28]]
    quad = shapely.Polygon(np.reshape(entry["segmentation"][0], (-1, 2)))
    assert entry["area"] == pytest.approx(quad.area)
    box = shapely.Polygon(corners(np.array([entry["bbox"]]))[0])
    assert box.area == pytest.approx(quad.minimum_rotated_rectangle.area)
    assert len(document["images"]) == 2


def test_detections_become_a_file_for_each_class(folder):
    document = rotated_file(folder / "a.json")
    for n, entry in enumerate(document["annotations"]):
        entry["score"] = 0.5 + n / 8
    (folder / "a.json").write_text(json.dumps(document), encoding="utf-8")
    assert run("convert", folder / "a.json", folder / "found").exit_code == 0
    assert sorted(p.name for p in (folder / "found").iterdir()) == [
        "Task1_ship.txt",
        "Task1_storage-tank.txt",
    ]
    first, second = (folder / "found" / "Task1_ship.txt").read_text(encoding="utf-8").splitlines()
    assert first.split()[:2] == ["0", "0.5"]
    assert second.split()[:2] == ["0", "0.75"]
    assert len(first.split()) == 10


@pytest.mark.parametrize("convention", ["opencv", "le90"])
def test_other_angles_and_back(folder, convention):
    before = rotated_file(folder / "a.json")
    there, back = folder / "there.json", folder / "back.json"
    assert run("convert", folder / "a.json", there, "--to", convention).exit_code == 0
    middle = json.loads(there.read_text(encoding="utf-8"))["annotations"]
    centre = np.array(middle[0]["bbox"][:2])
    np.testing.assert_allclose(centre, [30 + 20, 20 + 5])
    theta = middle[0]["bbox"][4]
    assert (math.radians(theta) if convention == "opencv" else theta) == pytest.approx(0.5)
    for entry in middle:
        del entry["segmentation"]
    there.write_text(json.dumps(before | {"annotations": middle}), encoding="utf-8")
    assert run("convert", there, back, "--from", convention).exit_code == 0
    same_shapes(before, json.loads(back.read_text(encoding="utf-8")), 1e-6)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("gone.json", "b.json", "cannot convert"),
        ("labels", "b.json", "no label files"),
        ("bad", "b.json", "line 2, is not a DOTA label"),
        ("lost", "b.json", "there is no image for"),
        ("a.json", "bad", "is not empty"),
        ("a.json", "gone/b.json", "there is no folder gone"),
        ("boxless.json", "b.json", "annotation 11 of"),
    ],
)
def test_what_cannot_be_converted(folder, monkeypatch, source, target, words):
    monkeypatch.chdir(folder)
    for name, files in {"labels": {}, "bad": {"0": "\n1 2 3\n"}, "lost": {"x": ""}}.items():
        (folder / name).mkdir()
        for stem, text in files.items():
            (folder / name / f"{stem}.txt").write_text(text, encoding="utf-8")
    rotated_file(folder / "a.json")
    rotated_file(folder / "boxless.json", bbox=[1, 2], segmentation=None)
    outcome = run("convert", source, target)
    assert outcome.exit_code == 2, outcome.output
    assert words in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (folder / "b.json").exists()
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("names", [("a/x.png", "b/x.png"), ("x.png", "x.jpg")])
def test_two_images_of_one_name_are_not_merged(folder, names):
    document = rotated_file(folder / "a.json")
    for entry, name in zip(document["images"], names, strict=True):
        entry["file_name"] = name
    (folder / "a.json").write_text(json.dumps(document), encoding="utf-8")
    outcome = run("convert", folder / "a.json", folder / "labels")
    assert outcome.exit_code == 2, outcome.output
    assert f"{names[0]} and {names[1]} would have the same name in DOTA" in outcome.stderr
    assert run("convert", folder / "a.json", folder / "b.json").exit_code == 0


def labels_of(folder, text):
    """A folder of DOTA labels, one file, of the image 0.png."""
    labels = folder / "labels"
    labels.mkdir()
    (labels / "0.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    return labels


SQUARE = "10 10 50 10 50 30 10 30"


def test_only_images_are_images_of_labels(folder):
    labels = labels_of(folder, f"{SQUARE} plane\n")
    for name in ("0.json", "0.xml", "0.zzz"):
        (folder / name).write_text("no image", encoding="utf-8")
    (folder / "0.tif").mkdir()
    outcome = run("convert", labels, folder / "b.json", "--images", folder)
    assert outcome.exit_code == 0, outcome.output
    assert (
        json.loads((folder / "b.json").read_text(encoding="utf-8"))["images"][0]["file_name"]
        == "0.png"
    )
    picture(0, 60, 50).save(folder / "0.JPG")
    outcome = run("convert", labels, folder / "b.json", "--images", folder)
    assert outcome.exit_code == 2, outcome.output
    assert "0.txt: 0.JPG and 0.png in" in outcome.stderr


def test_dota_has_no_angle_to_choose(folder):
    rotated_file(folder / "a.json")
    labels = labels_of(folder, "")
    for flag, source, target in (
        ("--to", folder / "a.json", folder / "new"),
        ("--from", labels, folder / "b.json"),
    ):
        outcome = run("convert", source, target, flag, "opencv", "--images", folder)
        assert outcome.exit_code == 2, outcome.output
        assert f"{flag} opencv does not apply to" in outcome.stderr
        assert not target.exists()


DECIDES = "note: the segmentation decides, bbox is the smallest box around it: 1 annotation"
REPLACED = "note: segmentation is not a polygon (a mask?): using the corners of bbox: 1 annotation"
RLE = {"size": [100, 120], "counts": "01"}


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"bbox": None}, DECIDES),
        ({"bbox": [1, 2]}, DECIDES),
        ({"bbox": BOX}, DECIDES),
        ({"bbox": BOX, "segmentation": POINTS}, DECIDES),
        ({"segmentation": None}, None),
        ({"segmentation": RLE}, REPLACED),
        ({"segmentation": [POINTS]}, None),
    ],
)
def test_bbox_and_segmentation_complete_each_other(folder, changes, note):
    before = rotated_file(folder / "before.json")
    rotated_file(folder / "a.json", **changes)
    outcome = run("convert", folder / "a.json", folder / "b.json")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.splitlines()[1:] == ([note] if note else [])
    after = json.loads((folder / "b.json").read_text(encoding="utf-8"))
    same_shapes(before, after, 1e-6)
    assert all(type(v) is float for a in after["annotations"] for v in a["segmentation"][0])
    assert run("convert", folder / "a.json", folder / "labels").exit_code == 0
    *numbers, _, _ = (folder / "labels" / "1.txt").read_text(encoding="utf-8").split()
    given = shapely.Polygon(np.reshape(np.array(numbers, float), (4, 2)))
    assert given.symmetric_difference(shapes(before)[1]).area < 0.1


def test_an_upright_box_without_an_outline_stays(folder):
    rotated_file(folder / "a.json", bbox=BOX, segmentation=None)
    assert run("convert", folder / "a.json", folder / "b.json").exit_code == 0
    entry = json.loads((folder / "b.json").read_text(encoding="utf-8"))["annotations"][1]
    assert entry["bbox"] == [*BOX, 0]
    assert entry["segmentation"] == corners(np.array([[*BOX, 0]])).reshape(1, 8).tolist()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_id": [1]}, "annotation 11 belongs to no image of the file"),
        ({"category_id": [3]}, "annotation 11 belongs to no category of the file"),
        ({"category_id": 9}, "annotation 11 belongs to no category of the file"),
        ({"bbox": [1e308, 0, 1e308, 9, 0], "segmentation": None}, "annotation 11 of"),
        ({"bbox": [0, 0, 10**400, 9, 0], "segmentation": None}, "annotation 11 of"),
    ],
)
def test_annotations_that_no_label_can_have(folder, recwarn, changes, words):
    rotated_file(folder / "a.json", **changes)
    outcome = run("convert", folder / "a.json", folder / "labels")
    assert outcome.exit_code == 2, outcome.output
    assert words in outcome.stderr
    assert not recwarn.list
    assert not any((folder / "labels").glob("*"))


def test_ids_take_the_place_of_categories_that_a_file_has_not(folder):
    document = rotated_file(folder / "a.json")
    (folder / "a.json").write_text(json.dumps(document | {"categories": []}), encoding="utf-8")
    assert run("convert", folder / "a.json", folder / "labels").exit_code == 0
    assert (folder / "labels" / "1.txt").read_text(encoding="utf-8").split()[8] == "4"
    document["annotations"][1]["category_id"] = "storage\ttank"
    (folder / "a.json").write_text(json.dumps(document | {"categories": []}), encoding="utf-8")
    outcome = run("convert", folder / "a.json", folder / "again")
    assert "cannot be a class in DOTA" in outcome.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{SQUARE} plane\n{SQUARE} cam\xe9ra\n".encode("latin-1"), "0.txt, line 2, is not UTF-8"),
        (f"{SQUARE} plane\n".encode("utf-16"), "0.txt, line 1, is not UTF-8"),
        (f"{SQUARE} plane\n1e308{SQUARE[2:]} plane\n", "0.txt, line 2, is not a DOTA label"),
        (f"nan{SQUARE[2:]} plane\n", "0.txt, line 1, is not a DOTA label"),
    ],
)
def test_lines_that_are_no_labels(folder, recwarn, text, words):
    labels = labels_of(folder, text)
    outcome = run("convert", labels, folder / "b.json", "--images", folder)
    assert outcome.exit_code == 2, outcome.output
    assert words in outcome.stderr
    assert not recwarn.list


@pytest.mark.parametrize("convention", ["opencv", "le90"])
@pytest.mark.parametrize("sides", [(0, 0), (0.25, 30), (30, 1), (0.5, 0.75)])
def test_boxes_of_less_than_a_pixel_can_be_read_back(folder, convention, sides):
    rotated_file(folder / "a.json", bbox=[60, 50, *sides, 0.3], segmentation=None)
    there, back = folder / "there.json", folder / "back.json"
    assert run("convert", folder / "a.json", there, "--to", convention).exit_code == 0
    outcome = run("convert", there, back, "--from", convention)
    assert outcome.exit_code == 0, outcome.output
    entry = json.loads(back.read_text(encoding="utf-8"))["annotations"][1]
    assert sorted(entry["bbox"][2:4]) == pytest.approx(sorted(abs(v - 1) + 1 for v in sides))
    outlines = corners(np.array([entry["bbox"], [60, 50, *sides, 0.3]]))
    one, other = ({tuple(p) for p in outline.round(6).tolist()} for outline in outlines)
    assert one == other


def changed(folder, change, *, scores=(0.5, 0.5, 0.5)):
    """The file of three annotations with scores, changed in place; None leaves a score out."""
    document = rotated_file(folder / "a.json")
    for entry, score in zip(document["annotations"], scores, strict=True):
        if score is not None:
            entry["score"] = score
    change(document)
    (folder / "a.json").write_text(json.dumps(document), encoding="utf-8")


def naming(table, **values):
    return lambda document: document[table][1].update(values)


@pytest.mark.parametrize("name", ["", " \t", "storage\ttank", "a\u3000b", "a\nb", "\0", "\ud800"])
def test_class_names_that_are_no_word(folder, name):
    changed(folder, naming("categories", name=name))
    outcome = run("convert", folder / "a.json", folder / "new")
    assert outcome.exit_code == 2, outcome.output
    assert "cannot be a class in DOTA" in outcome.stderr
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        ("categories", {"name": "ship"}, "class ship and class ship would have the same name"),
        ("categories", {"name": "ship/tank"}, "the class ship/tank cannot have results"),
        ("images", {"file_name": "my photo.png"}, 'the image "my photo" cannot be written'),
        ("images", {"file_name": None}, "image 1 has no usable file_name: null"),
        ("images", {"file_name": "a/"}, "image 1 has no usable file_name"),
        ("annotations", {"score": "high"}, 'annotation 11 has no usable score: "high"'),
        ("annotations", {"score": math.nan}, "annotation 11 has no usable score: NaN"),
    ],
)
def test_results_that_could_not_be_read_back(folder, table, values, words):
    changed(folder, naming(table, **values))
    outcome = run("convert", folder / "a.json", folder / "new")
    assert outcome.exit_code == 2, outcome.output
    assert words in outcome.stderr


def test_labels_may_have_what_results_may_not(folder):
    def rename(document):
        naming("categories", name="ship/tank")(document)
        naming("images", file_name="my photo.png")(document)

    changed(folder, rename, scores=[None] * 3)
    picture(1, 120, 100).save(folder / "my photo.png")
    assert run("convert", folder / "a.json", folder / "new").exit_code == 0
    assert run("convert", folder / "new", folder / "b.json", "--images", folder).exit_code == 0
    after = json.loads((folder / "b.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in after["images"]] == ["0.png", "my photo.png"]
    assert [category["name"] for category in after["categories"]] == ["ship", "ship/tank"]


@pytest.mark.parametrize("scores", [(0.5, None, 0.5), (None, 0.5, None), (0.5, 0.5, None)])
def test_detections_and_labels_are_not_mixed(folder, scores):
    changed(folder, lambda document: None, scores=scores)
    outcome = run("convert", folder / "a.json", folder / "new")
    assert outcome.exit_code == 2, outcome.output
    assert "some annotations have a score and some have none" in outcome.stderr
    assert run("convert", folder / "a.json", folder / "b.json").exit_code == 0


@pytest.mark.parametrize("target", ["b.json", "new"])
def test_a_list_of_results_is_no_source(folder, target):
    results = folder / "found.results.json"
    results.write_text(json.dumps(rotated_file(folder / "a.json")["annotations"]), encoding="utf-8")
    outcome = run("convert", results, folder / target)
    assert outcome.exit_code == 2, outcome.output
    assert "take infer's .json output" in outcome.stderr
    results.write_text("{", encoding="utf-8")
    assert "hint" not in run("convert", results, folder / target).stderr


def test_what_else_a_file_has_is_copied(folder):
    others = {
        "info": {"year": 2024, "description": "\u6e2f"},
        "licenses": [{"id": 1}, {"id": 2}],
        "empty": [],
        "nothing": None,
    }
    document = rotated_file(folder / "a.json")
    (folder / "a.json").write_text(json.dumps({"version": 3} | document | others), encoding="utf-8")
    assert run("convert", folder / "a.json", folder / "b.json", "--to", "le90").exit_code == 0
    after = json.loads((folder / "b.json").read_text(encoding="utf-8"))
    del document["annotations"]
    assert {key: value for key, value in after.items() if key != "annotations"} == (
        {"version": 3} | document | others
    )


@pytest.mark.parametrize("key", ["images", "categories", "annotations"])
@pytest.mark.parametrize("value", [{}, {"id": 1}, 7, None, [7]])
@pytest.mark.parametrize("target", ["b.json", "new"])
def test_tables_that_are_no_lists(folder, key, value, target):
    (folder / "a.json").write_text(
        json.dumps(rotated_file(folder / "a.json") | {key: value}), encoding="utf-8"
    )
    outcome = run("convert", folder / "a.json", folder / target)
    assert outcome.exit_code == 2, outcome.output
    assert f"its `{key}` is not a list of objects" in outcome.stderr
    assert not (folder / "b.json").exists()
