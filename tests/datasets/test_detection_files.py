"""Files of detections: of this program and of others, and what is wrong with some."""

import csv
import datetime
import decimal
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_scenes import make_scene

from odtk_ray.datasets.annotation_file import read_annotation_file
from odtk_ray.datasets.detection_builder import Universe
from odtk_ray.datasets.detection_files import read_detections
from odtk_ray.datasets.id_lookup import OpenLookup
from odtk_ray.errors import UsageError

TRUTH = {
    "images": [{"id": i, "file_name": f"{name}.jpg"} for i, name in ((10, "ten"), (9, "nine"))],
    "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
    "annotations": [],
}
FOUND = [
    {"image_id": 9, "category_id": 1, "bbox": [1.5, 2, 3, 4], "score": 0.5},
    {"image_id": 10, "category_id": 3, "bbox": [5, 6, 7, 8], "score": 0.25},
    {"image_id": 9, "category_id": 3, "bbox": [9, 10, 11, 12.25], "score": 0.75},
]
NAMES = {9: "nine.jpg", 10: "ten.jpg"}


@pytest.fixture
def wanted(tmp_path):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(TRUTH), encoding="utf-8")
    return read_annotation_file(str(path))


def flat(row, box=("x", "y", "width", "height")):
    return {**{k: row[k] for k in ("image_id", "category_id", "score")},
            **dict(zip(box, row["bbox"], strict=True))}  # fmt: skip


def corners(row):
    x, y, w, h = row["bbox"]
    found = {k: row[k] for k in ("image_id", "category_id")}
    return found | {"confidence": row["score"], "xmin": x, "ymin": y, "xmax": x + w, "ymax": y + h}


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_csv(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)


def by_image(rows):
    found = {i: [row for row in rows if row["image_id"] == i] for i in (10, 9)}
    return [
        {"image_id": i, "file_name": NAMES[i], "detections": inside} for i, inside in found.items()
    ]


def named(row):
    """By file name and name of category, as far as a row has no ids."""
    names = {1: "cat", 3: "dog"}
    found = {k: v for k, v in row.items() if k not in ("image_id", "category_id")}
    return {"file_name": NAMES[row["image_id"]], "category": names[row["category_id"]]} | found


def extended(row):
    """With keys that some programs add."""
    return row | {"id": 1, "area": 12.5, "iscrowd": 0, "segmentation": []}


FLOATS = [row | {"image_id": float(row["image_id"])} for row in FOUND]
FILES = {
    "results": ("a.json", write_json, FOUND),
    "ODTK": ("a.json", write_json, {"annotations": FOUND, "images": [], "categories": []}),
    "more keys": ("a.json", write_json, {"info": {}, "annotations": [*map(extended, FOUND)]}),
    "float ids": ("a.json", write_json, FLOATS),
    "results by name": ("a.json", write_json, [*map(named, FOUND)]),
    "lines by image": ("a.jsonl", write_lines, by_image(FOUND)),
    "lines": ("a.jsonl", write_lines, FOUND),
    "lines by name": ("a.jsonl", write_lines, [*map(named, FOUND)]),
    "csv": ("a.csv", write_csv, [*map(flat, FOUND)]),
    "csv of w, h": ("a.csv", write_csv, [flat(row, "x y w h".split()) for row in FOUND]),
    "csv of corners": ("a.csv", write_csv, [*map(corners, FOUND)]),
    "csv by name": ("a.csv", write_csv, [named(flat(row)) for row in FOUND]),
    "csv of floats": ("a.csv", write_csv, [*map(flat, FLOATS)]),
    "parquet": ("a.parquet", write_parquet, [*map(flat, FOUND)]),
    "parquet of lists": ("a.parquet", write_parquet, FOUND),
    "parquet by name": ("a.parquet", write_parquet, [named(flat(row)) for row in FOUND]),
    "parquet of text": (
        "a.parquet",
        write_parquet,
        [flat(row) | {"image_id": str(row["image_id"])} for row in FOUND],
    ),
    "parquet of floats": ("a.parquet", write_parquet, [*map(flat, FLOATS)]),
}


@pytest.mark.parametrize("name", FILES)
def test_all_formats_hold_the_same(wanted, tmp_path, name):
    file, write, content = FILES[name]
    write(tmp_path / file, content)
    table, remarks = read_detections(str(tmp_path / file), Universe.of(wanted))
    assert not remarks
    assert wanted.images.ids == ["9", "10"]
    assert table.image.tolist() == [0, 0, 1]
    assert table.category.tolist() == [1, 0, 0]
    assert table.score.tolist() == [0.5, 0.75, 0.25]
    assert table.bbox.tolist() == [[1.5, 2, 3, 4], [9, 10, 11, 12.25], [5, 6, 7, 8]]


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv", ".parquet"])
def test_no_detections(wanted, tmp_path, ending):
    path = tmp_path / f"a{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist([*map(flat, FOUND)]).slice(0, 0), path)
    else:
        texts = {".json": "[]", ".jsonl": "", ".csv": "image_id,category_id,score,x,y,w,h\n"}
        path.write_text(texts[ending], encoding="utf-8")
    table, remarks = read_detections(str(path), Universe.of(wanted))
    assert (len(table), table.bbox.shape, remarks) == (0, (0, 4), [])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"image_id": 77}, "1 detection is of images that {} does not have, the first has "
         "image_id 77"),
        ({"image_id": "9"}, 'the first has image_id "9"'),
        ({"category_id": 8}, "1 detection is of categories that {} does not have, the first has "
         "category_id 8"),
        ({"image_id": None}, "image_id null"),
    ],
)  # fmt: skip
def test_what_the_annotation_file_lacks_is_left_out_with_a_remark(wanted, tmp_path, row, words):
    write_json(tmp_path / "a.json", [FOUND[0], FOUND[1] | row])
    table, (remark,) = read_detections(str(tmp_path / "a.json"), Universe.of(wanted))
    assert len(table) == 1
    assert words.format(wanted.path) in remark


def test_categories_of_other_names_are_remarked(wanted, tmp_path):
    """As in a file that was made without the annotation file: its ids are class indices."""
    own = [{"id": 0, "name": "bird"}, {"id": 1, "name": "dog"}, {"id": 3, "name": "cat"}, 7]
    write_json(tmp_path / "a.json", {"annotations": FOUND, "categories": own})
    _, (remark,) = read_detections(str(tmp_path / "a.json"), Universe.of(wanted))
    assert remark.startswith("category 1 is dog in ")
    assert remark.endswith(f"and cat in {wanted.path}: the ids count")


NOT_FINITE = '[{"image_id": 9, "category_id": 1, "bbox": [1, NaN, 3, 4], "score": 1}]'


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("a.json", "", "the file is empty"),
        ("a.json", json.dumps(FOUND)[:-20], "no end"),
        ("a.json", json.dumps({"annotations": FOUND})[:-20], "no end"),
        ("a.json", "7", "not JSON"),
        ("a.json", '{"images": []}', "neither a list of detections nor an object"),
        ("a.json", '{"annotations": {}}', "its `annotations` are not a list"),
        ("a.json", "[7]", "7 is no detection"),
        ("a.json", '[{"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4]}]', "have no score"),
        ("a.json", '[{"image_id": 9, "bbox": [1, 2, 3, 4], "score": 1}]', "has no category_id"),
        ("a.json", json.dumps([FOUND[0], {"score": 1}]), "a detection has no"),
        ("a.json", json.dumps([FOUND[0] | {"score": None}]), "detection 1 has no finite score"),
        ("a.json", json.dumps([FOUND[0] | {"score": [1]}]), "a score is no number"),
        ("a.json", json.dumps([FOUND[0] | {"bbox": [1, 2, 3]}]), "have 3 numbers, not 4"),
        ("a.json", json.dumps([FOUND[0], FOUND[0] | {"bbox": [1]}]), "a bbox not four or five"),
        ("a.json", json.dumps([FOUND[0] | {"bbox": [1, 2, 3, 4, 5]}]), "add --rotated-bbox"),
        ("a.json", NOT_FINITE, "detection 1 has no finite bbox"),
        ("a.json", json.dumps([FOUND[0] | {"image_id": 8}]), "all its 1 detection is of images"),
        ("a.json", json.dumps([FOUND[0] | {"score": True}]), "a score is no number"),
        ("a.json", json.dumps([FOUND[0] | {"score": "0.9"}]), "a score is no number"),
        ("a.json", json.dumps([FOUND[0] | {"bbox": ["1", "2", "3", "4"]}]), "a bbox not four"),
        ("a.json", json.dumps([FOUND[0] | {"score": 10**400}]), "a score is no number"),
        (
            "a.json",
            json.dumps([named(FOUND[0]) | {"file_name": ["nine.jpg"]}]),
            "is of images that",
        ),
        ("a.json", json.dumps([named(FOUND[0]) | {"category": {}}]), "is of categories that"),
        (
            "a.json",
            json.dumps([FOUND[0] | {"image_id": 8}, FOUND[0] | {"category_id": 8}]),
            "all its 2 detections are left out",
        ),
        ("a.jsonl", json.dumps(FOUND[0]) + "\n{", "line 2 is not JSON"),
        ("a.jsonl", json.dumps(FOUND[0] | {"score": math.nan}), "detection 1 has no finite score"),
        ("a.csv", "image_id,category_id,score,score,x,y,w,h\n9,1,0.5,1,1,2,3,4\n", "called score"),
        ("a.jsonl", '{"image_id": 9, "detections": 3}', "`detections` of line 1 are not a list"),
        ("a.csv", "image_id,category_id,score\n9,1,0.5\n", "no column for box"),
        ("a.csv", "", "no column for image and category and score and box among none"),
        ("a.csv", "image_id,category_id,score,x,y,w,h\n9,1,high,1,2,3,4\n", "high"),
        ("a.csv", "image_id,category_id,score,x,y,w,h\n9,1,,1,2,3,4\n", "no finite score"),
        ("a.csv", "image_id,category_id,score,x,y,w,h\n9,1,0.5,1,2\n", "columns"),
        ("a.csv", "image_id,score,x,y,w,h," + "c" * 200_000 + "\n9,0.5,1,2,3,4,1\n", "field limit"),
        ("a.parquet", "no table", "Parquet"),
        ("a.txt", "", "ends in one of .json, .jsonl, .csv, .parquet"),
        ("a.jason", "", "did you mean .json?"),
    ],
)
def test_what_is_wrong_is_one_sentence(wanted, tmp_path, file, text, words):
    path = tmp_path / file
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        read_detections(str(path), Universe.of(wanted))
    assert words in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in refused.value.sentence


NINE = {"image_id": [9], "category_id": [1], "score": [0.5], "bbox": [[1.0, 2.0, 3.0, 4.0]]}
DAY = datetime.date(2026, 1, 1)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"image_id": [b"9"]}, "the column image_id holds binary"),
        ({"image_id": [decimal.Decimal(9)]}, "the column image_id holds decimal"),
        ({"category_id": [DAY]}, "the column category_id holds date"),
        ({"score": [True]}, "a column of numbers holds bool"),
        ({"score": ["0.5"]}, "a column of numbers holds string"),
        ({"bbox": [["1", "2", "3", "4"]]}, "a column of numbers holds string"),
    ],
)
def test_columns_of_other_types_are_one_sentence(wanted, tmp_path, columns, words):
    pq.write_table(pa.table(NINE | columns), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=words):
        read_detections(str(tmp_path / "a.parquet"), Universe.of(wanted))


def test_a_column_that_is_there_twice_is_one_sentence(wanted, tmp_path):
    names = [*NINE, "image_id"]
    table = pa.table([pa.array(NINE[name]) for name in names], names=names)
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="several columns are called image_id"):
        read_detections(str(tmp_path / "a.parquet"), Universe.of(wanted))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("coded", [False, True])
def test_ids_may_be_text_of_any_type(wanted, tmp_path, kind, coded):
    ids = pa.array(["9"], kind if not coded else pa.string())
    pq.write_table(
        pa.table(NINE | {"image_id": ids.dictionary_encode() if coded else ids}),
        tmp_path / "a.parquet",
    )
    table, _ = read_detections(str(tmp_path / "a.parquet"), Universe.of(wanted))
    assert table.image.tolist() == [0]


@pytest.mark.parametrize("column", ["file_name", "category"])
def test_a_name_of_several_is_refused_where_it_is_used(tmp_path, column):
    """Not where ids say which one is meant."""
    truth = {
        "images": [{"id": i, "file_name": "a.jpg", "width": 9, "height": 9} for i in (1, 2)],
        "categories": [{"id": i, "name": "cat"} for i in (1, 2)],
        "annotations": [],
    }
    write_json(tmp_path / "truth.json", truth)
    universe = Universe.of(read_annotation_file(str(tmp_path / "truth.json")))
    by_id = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    write_json(tmp_path / "a.json", [by_id])
    assert len(read_detections(str(tmp_path / "a.json"), universe)[0]) == 1
    del by_id[{"file_name": "image_id", "category": "category_id"}[column]]
    by_name = by_id | {column: {"file_name": "a.jpg", "category": "cat"}[column]}
    write_json(tmp_path / "a.json", [by_name])
    with pytest.raises(UsageError, match=f"the {column} .* is not clear"):
        read_detections(str(tmp_path / "a.json"), universe)


@pytest.mark.parametrize("ids", [[2**70, 2**70 + 1], ["x\ud800", "x\ud801"], [1, "1"]])
def test_lines_have_the_ids_of_a_list(tmp_path, ids):
    """Integers beyond 64 bits and halves of characters too, which quick parsers do not read."""
    images = [{"id": i, "file_name": f"{n}.jpg", "width": 9, "height": 9}
              for n, i in enumerate(ids)]  # fmt: skip
    write_json(tmp_path / "truth.json", TRUTH | {"images": images})
    universe = Universe.of(read_annotation_file(str(tmp_path / "truth.json")))
    write_lines(tmp_path / "a.jsonl", [FOUND[0] | {"image_id": i} for i in ids])
    assert read_detections(str(tmp_path / "a.jsonl"), universe)[0].image.tolist() == [0, 1]


def test_lines_may_begin_with_a_byte_order_mark(wanted, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(FOUND[0]), encoding="utf-8-sig")
    assert len(read_detections(str(tmp_path / "a.jsonl"), Universe.of(wanted))[0]) == 1


ODD_IDS = ["007", "008", "7", "-0", "--5", "²", "1e+16", "9"]


@pytest.mark.parametrize("first", ["a.json", "a.csv", "a.parquet"])
@pytest.mark.parametrize("second", ["a.json", "a.csv", "a.parquet"])
def test_files_without_truth_name_the_same_images_in_every_format(tmp_path, first, second):
    """Text that looks like a number, and text that only begins like one."""
    rows = [FOUND[0] | {"image_id": i} for i in ODD_IDS]
    write_json(tmp_path / "a.json", rows)
    write_csv(tmp_path / "a.csv", [*map(flat, rows)])
    write_parquet(tmp_path / "a.parquet", [*map(flat, rows)])
    universe = Universe(OpenLookup(), OpenLookup())
    tables = [read_detections(str(tmp_path / file), universe)[0] for file in (first, second)]
    assert [table.image.tolist() for table in tables] == [[*range(len(ODD_IDS))]] * 2


def test_a_missing_file_is_one_sentence(wanted, tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_detections(str(tmp_path / "none.json"), Universe.of(wanted))


def test_long_files_are_read_in_parts(tmp_path):
    """Parts of half a megabyte make no difference, nor does the order of the images."""
    dataset, _ = make_scene(1, crowds=False)
    write_json(tmp_path / "truth.json", dataset)
    wanted = read_annotation_file(str(tmp_path / "truth.json"))
    rng = np.random.default_rng(0)
    images = rng.integers(0, len(dataset["images"]), 20_000).tolist()
    rows = [{"image_id": i, "category_id": 0, "bbox": [n, 1, 2, 3], "score": n / 1e5}
            for n, i in enumerate(images)]  # fmt: skip
    write_json(tmp_path / "a.json", rows)
    write_lines(tmp_path / "a.jsonl", rows)
    expected = sorted(range(len(rows)), key=lambda n: images[n])
    for file in ("a.json", "a.jsonl"):
        table, _ = read_detections(str(tmp_path / file), Universe.of(wanted))
        assert table.bbox[:, 0].tolist() == expected
        assert table.image.tolist() == sorted(images)


@pytest.mark.parametrize("odd", ["a\nb", "a\r\nb", "a\rb", 'a,"b"', "\0", " a ", ""])
def test_ids_with_marks_of_csv_are_read_also_from_long_files(tmp_path, odd):
    ids = [f"{odd}{n}" for n in range(2)]
    truth = TRUTH | {"images": [{"id": i, "file_name": f"{n}.jpg", "width": 9, "height": 9}
                                for n, i in enumerate(ids)]}  # fmt: skip
    write_json(tmp_path / "truth.json", truth)
    wanted = read_annotation_file(str(tmp_path / "truth.json"))
    quoted = ['"' + i.replace('"', '""') + '"' for i in ids]
    rows = [f"{quoted[n % 2]},1,{n / 1e6},1,2,3,4\n" for n in range(80_000)]
    text = "image_id,category_id,score,x,y,w,h\n" + "".join(rows)
    (tmp_path / "a.csv").write_bytes(text.encode())
    table, remarks = read_detections(str(tmp_path / "a.csv"), Universe.of(wanted))
    assert not remarks
    assert np.bincount(table.image).tolist() == [40_000, 40_000]
