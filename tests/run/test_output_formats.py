from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from synthetic import make_results, make_run, make_run_plan

from odtk_ray.config import InferConfig
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.records import ImageResult
from odtk_ray.run.output_columns import indented, number_texts
from odtk_ray.run.output_text import check_text
from odtk_ray.run.outputs import write_failures, write_outputs

CATEGORIES = [{"id": 9, "name": "nine"}, {"id": 5, "name": "five"}, {"id": 7, "name": "s,even"}]
BOX_COLUMNS = ("x", "y", "width", "height", "theta")
NAMES = ("a.json", "a.results.json", "a.jsonl", "a.csv", "a.parquet")


def corners_of(x, y, w, h, theta):
    """ODTK's formula, corner by corner: TL, BL, BR, TR of the pixels, turned clockwise."""
    cx, cy, numbers = x + (w - 1) / 2, y + (h - 1) / 2, []
    for px, py in ((x, y), (x, y + h - 1), (x + w - 1, y + h - 1), (x + w - 1, y)):
        dx, dy = px - cx, py - cy
        numbers += [cx + dx * math.cos(theta) - dy * math.sin(theta)]
        numbers += [cy + dx * math.sin(theta) + dy * math.cos(theta)]
    return numbers


def expected_rows(ids, results, category_ids=(9, 5, 7)):
    rows = []
    for image_id, result in zip(ids, results, strict=True):
        found = result.detections
        for score, label, box in zip(found.scores, found.classes, found.boxes, strict=True):
            x1, y1, x2, y2, *direction = (float(v) for v in box)
            bbox = [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
            bbox += [math.atan2(*direction)] if direction else []
            rows.append(
                {
                    "image_id": image_id,
                    "score": float(score),
                    "category_id": category_ids[label],
                    "bbox": bbox,
                }
            )
    return rows


def completed(rows):
    """What other readers of COCO files need behind ODTK's keys."""
    return [
        row | {"id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
        for number, row in enumerate(rows, 1)
    ]


def sized_images(run, results):
    entries = [json.loads(entry) for entry in run.plan.records["entry"].to_pylist()]
    return [
        entry | {"width": result.width, "height": result.height}
        for entry, result in zip(entries, results, strict=True)
    ]


def write(tmp_path, ids, results, **options):
    run = make_run(tmp_path / "run", ids, results, **options)
    outputs = tuple(str(tmp_path / name) for name in NAMES)
    write_outputs(InferConfig("m.pth", output=outputs), run)
    return run, [tmp_path / name for name in NAMES]


@pytest.mark.parametrize("ids", [[3], list(range(100, 40, -1)), [2**60, 1, 2**63 - 1]])
def test_odtk_json_has_the_bytes_of_json_dump(tmp_path, ids):
    results = make_results(len(ids), seed=len(ids))
    run, (path, *_) = write(tmp_path, ids, results, categories=CATEGORIES)
    document = {
        "annotations": completed(expected_rows(ids, results)),
        "images": sized_images(run, results),
        "categories": CATEGORIES,
    }
    assert path.read_text(encoding="utf-8") == json.dumps(document, indent=4)


def rounded(row):
    """Numbers to 1e-9: the last bits of arctan2 and of the corners are free."""
    rings = [np.round(ring, 9).tolist() for ring in row["segmentation"]]
    return row | {"bbox": np.round(row["bbox"], 9).tolist(), "segmentation": rings}


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


@given(st.dictionaries(st.text(), SCALARS) | st.dictionaries(st.text(), VALUES))
def test_entries_of_images_have_the_bytes_of_json_dumps(entry):
    text = json.dumps({"images": [entry]}, indent=4)
    assert text == '{\n    "images": [\n' + indented(entry) + "\n    ]\n}"


def test_rotated_boxes_in_all_formats(tmp_path):
    ids, results = list(range(30)), make_results(30, seed=5, failed={4}, rotated=True)
    expected = [
        rounded(row | {"segmentation": [corners_of(*row["bbox"])]})
        for row in expected_rows(ids, results)
    ]
    assert len(expected) > 40
    options = {"categories": CATEGORIES, "rotated": True}
    _, (odtk, coco, lines, table, parquet) = write(tmp_path, ids, results, **options)
    document = json.loads(odtk.read_text(encoding="utf-8"))
    assert odtk.read_text(encoding="utf-8") == json.dumps(document, indent=4)
    areas = [row.pop("area") for row in document["annotations"]]
    assert areas == [math.prod(row["bbox"][2:4]) for row in document["annotations"]]
    named = [row | {"id": n, "iscrowd": 0} for n, row in enumerate(expected, 1)]
    assert [list(row) for row in document["annotations"]] == [list(row) for row in named]
    assert [rounded(row) for row in document["annotations"]] == named
    assert [rounded(row) for row in json.loads(coco.read_text(encoding="utf-8"))] == expected
    from_lines = [
        rounded({"image_id": line["image_id"]} | found)
        for line in map(json.loads, lines.read_text(encoding="utf-8").splitlines())
        for found in line["detections"]
    ]
    assert from_lines == expected
    with open(table, encoding="utf-8", newline="") as stream:
        from_csv = [[float(row[k]) for k in BOX_COLUMNS] for row in csv.DictReader(stream)]
    assert np.round(from_csv, 9).tolist() == [row["bbox"] for row in expected]
    columns = pq.read_table(parquet).to_pydict()
    assert [list(row) for row in zip(*(columns[k] for k in BOX_COLUMNS), strict=True)] == from_csv


def test_the_worked_example_of_the_conventions():
    # bbox [100, 200, 80, 20, 0.3]: centre (139.5, 209.5), the far corners 39.5 and 9.5 away
    found = corners(np.array([[100, 200, 80, 20, 0.3]]))[0]
    expected = [[104.57, 188.75], [98.96, 206.9], [174.43, 230.25], [180.04, 212.1]]
    np.testing.assert_allclose(found, expected, atol=0.006)


def test_nothing_detected_is_written_too(tmp_path):
    results = make_results(5, failed=range(5))
    run, (odtk, coco, lines, table, parquet) = write(tmp_path, list(range(5)), results)
    images = sized_images(run, results)
    assert {image["width"] for image in images} == {0}
    assert odtk.read_text(encoding="utf-8") == json.dumps(
        {"annotations": [], "images": images}, indent=4
    )
    assert json.loads(coco.read_text(encoding="utf-8")) == []
    assert len(table.read_text(encoding="utf-8").splitlines()) == 1
    assert pq.read_table(parquet).num_rows == 0
    assert [
        json.loads(line)["error"] for line in lines.read_text(encoding="utf-8").splitlines()
    ] == ["broken"] * 5


def test_all_formats_hold_the_same_detections(tmp_path):
    ids = [f"id-{i}" for i in range(40)]
    results = make_results(40, failed={3})
    _, (odtk, coco, lines, table, parquet) = write(tmp_path, ids, results, categories=CATEGORIES)
    expected = expected_rows(ids, results)
    assert len(expected) > 50
    assert json.loads(odtk.read_text(encoding="utf-8"))["annotations"] == completed(expected)
    assert json.loads(coco.read_text(encoding="utf-8")) == [
        {k: row[k] for k in ("image_id", "category_id", "bbox", "score")} for row in expected
    ]
    from_lines = [
        {"image_id": line["image_id"]} | found
        for line in map(json.loads, lines.read_text(encoding="utf-8").splitlines())
        for found in line["detections"]
    ]
    assert from_lines == [dict(row) for row in expected]
    assert len(lines.read_text(encoding="utf-8").splitlines()) == 40
    with open(table, encoding="utf-8", newline="") as stream:
        from_csv = [
            (r["image_id"], int(r["category_id"]), float(r["score"]), float(r["width"]))
            for r in csv.DictReader(stream)
        ]
    wanted = [(r["image_id"], r["category_id"], r["score"], r["bbox"][2]) for r in expected]
    assert from_csv == wanted
    columns = pq.read_table(parquet).to_pydict()
    assert columns["image_id"] == [row["image_id"] for row in expected]
    assert columns["category_id"] == [row["category_id"] for row in expected]
    np.testing.assert_array_equal(columns["height"], [row["bbox"][3] for row in expected])
    assert set(columns["category"]) == {"nine", "five", "s,even"}


def test_windows_are_added_in_order(tmp_path):
    """The first of them has no detections: no comma may stand before those of the second."""
    ids = list(range(1500))
    results = make_results(len(ids))
    nothing = ImageResult.failed("").detections
    results[:300] = [replace(result, detections=nothing) for result in results[:300]]
    run, (odtk, coco, lines, *_) = write(tmp_path, ids, results, categories=CATEGORIES)
    expected = expected_rows(ids, results)
    document = {
        "annotations": completed(expected),
        "images": sized_images(run, results),
        "categories": CATEGORIES,
    }
    assert odtk.read_text(encoding="utf-8") == json.dumps(document, indent=4)
    assert json.loads(coco.read_text(encoding="utf-8")) == expected
    read = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [line["image_id"] for line in read] == ids
    assert [
        {"image_id": line["image_id"]} | found for line in read for found in line["detections"]
    ] == expected


def test_csv_has_the_bytes_of_pythons_writer(tmp_path):
    odd = ["", ",", '"', "a\nb", "a\r\nb", " a ", "ä,\U0001f600", "%s", "'"]
    categories = [{"id": name, "name": f"{name},"} for name in odd]
    results = make_results(len(odd), seed=3)
    _, (*_, table, _) = write(tmp_path, odd, results, categories=categories)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    head = ["image_id", "file_name", "category_id", "category", "score"]
    writer.writerow([*head, *BOX_COLUMNS[:4]])
    for row in expected_rows(range(len(odd)), results, range(len(odd))):
        image, label = row["image_id"], odd[row["category_id"]]
        name = f"{image:06d}.jpg"
        writer.writerow([odd[image], name, label, f"{label},", row["score"], *row["bbox"]])
    assert table.read_bytes() == text.getvalue().encode()


def test_csv_has_the_same_bytes_with_every_python(tmp_path):
    """Python's own writer refuses NUL until 3.10, and leaves a lone CR unquoted until 3.12."""
    results = make_results(2, seed=1)
    categories = [{"id": i, "name": name} for i, name in enumerate(("a\rb", "\0", "c"))]
    _, (*_, table, _) = write(tmp_path, ["\0", "c\rd"], results, categories=categories)
    fields = [line.split(",") for line in table.read_bytes().decode().split("\n")[1:-1]]
    names = ['"a\rb"', "\0", "c"]
    expected = [
        (["\0", '"c\rd"'][row["image_id"]], names[row["category_id"]])
        for row in expected_rows(range(2), results, range(3))
    ]
    assert [(line[0], line[3]) for line in fields] == expected


def test_integer_ids_stay_integers_in_parquet(tmp_path):
    _, (*_, parquet) = write(tmp_path, [7, 2**62], make_results(2, seed=1))
    assert set(pq.read_table(parquet)["image_id"].to_pylist()) <= {7, 2**62}
    assert str(pq.read_schema(parquet).field("image_id").type) == "int64"


def test_ids_beyond_64_bits_are_text_in_parquet(tmp_path):
    big = [{"id": 2**64 - 1, "name": "a"}, {"id": 1, "name": "b"}, {"id": 10**30, "name": "c"}]
    ids = [3, 10**30, -(10**30)]
    results = make_results(3, seed=1)
    _, (odtk, _, _, table, parquet) = write(tmp_path, ids, results, categories=big)
    expected = expected_rows(ids, results, [c["id"] for c in big])
    assert json.loads(odtk.read_text(encoding="utf-8"))["annotations"] == completed(expected)
    columns = pq.read_table(parquet).to_pydict()
    for name in ("image_id", "category_id"):
        texts = [str(row[name]) for row in expected]
        assert columns[name] == texts
        with open(table, encoding="utf-8", newline="") as stream:
            assert [row[name] for row in csv.DictReader(stream)] == texts


HALF = "a\ud800"


@pytest.mark.parametrize(
    ("ids", "category", "words"),
    [
        ([1, HALF], {"id": 1, "name": "a"}, r'the image id "a\ud800" has half a character'),
        ([1], {"id": HALF, "name": "a"}, r'the category id "a\ud800" has'),
        ([1], {"id": 1, "name": HALF}, r'the class name "a\ud800" has'),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_the_run(ids, category, words):
    plan = make_run_plan(ids, categories=[category])
    values = plan.records, plan.outputs["category_ids"], plan.outputs["category_names"]
    check_text(("a.json", "a.results.json", "a.jsonl"), *values)
    for path in ("a.csv", "a.parquet"):
        with pytest.raises(UsageError) as caught:
            check_text(("a.json", path), *values)
        assert words in str(caught.value)


def test_whole_pairs_of_surrogates_are_characters():
    plan = make_run_plan(["\U0001f600"])
    check_text(("a.csv",), plan.records, [json.dumps("\U0001f600")], ["\U0001f600"])


def test_plain_results_are_what_load_res_takes(tmp_path):
    ids = list(range(30))
    results = make_results(30)
    _, (_, coco, *_) = write(tmp_path, ids, results, categories=CATEGORIES)
    truth = COCO()
    truth.dataset = {"images": [{"id": i} for i in ids], "categories": CATEGORIES, "info": {}}
    truth.createIndex()
    assert len(truth.loadRes(str(coco)).anns) == len(expected_rows(ids, results))


def test_outputs_appear_together_or_not_at_all(tmp_path):
    run = make_run(tmp_path / "run", list(range(10)), make_results(10))
    good, bad = tmp_path / "good.json", tmp_path / "gone" / "bad.csv"
    good.write_text("of an earlier run", encoding="utf-8")
    with pytest.raises(OdtkError, match="cannot write the outputs"):
        write_outputs(InferConfig("m.pth", output=(str(good), str(bad))), run)
    assert good.read_text(encoding="utf-8") == "of an earlier run"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.json", "run"]


def test_failures_are_listed_and_an_old_list_goes(tmp_path, quiet):
    config = InferConfig("m.pth", output=(str(tmp_path / "a.json"),))
    run = make_run(tmp_path / "run", ["x", "y", "z"], make_results(3, failed={1}))
    (path,) = write_failures(config, run, quiet)
    assert [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()] == [
        {"image_id": "y", "file_name": "000001.jpg", "path": "/data/000001.jpg", "error": "broken"}
    ]
    good = make_run(tmp_path / "run2", ["x"], make_results(1))
    assert quiet.warnings == ["1 image failed, first 000001.jpg: broken"]
    assert write_failures(config, good, quiet) == []
    assert not (tmp_path / "a.failures.jsonl").exists()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_are_written_as_python_writes_them(values):
    texts = number_texts(np.array(values, np.float64)).to_pylist()
    assert texts == [repr(value) for value in values]


@pytest.mark.parametrize("value", [1e-4, 9.999e-5, 1e16, 9999999999999998.0, -0.0, 5e-324, 1e-7])
def test_numbers_at_the_borders_of_the_exponents(value):
    assert number_texts(np.array([value, -value])).to_pylist() == [repr(value), repr(-value)]
