"""The command line around the bootstrap."""

import json

import compare_ap as job
import pytest
from click.testing import CliRunner

TRUTH = {
    "images": [{"id": i, "file_name": f"{i}.png"} for i in ("b", "a", 9, 1)],
    "categories": [{"id": 7, "name": "tree"}],
    "annotations": [
        {"id": n, "image_id": i, "category_id": 7, "bbox": [5, 5, 20, 20], "area": 400}
        for n, i in enumerate(("b", "a", 9, 1), start=1)
    ],
}
for image, tile in zip(TRUTH["images"], (0, 0, 1, 1), strict=True):
    image["tile"] = tile


def rows(found):
    return [{"image_id": i, "category_id": 7, "bbox": [5, 5, 20, 20], "score": 0.9} for i in found]


def run(folder, a, b, *options):
    for name, content in (("a", a), ("b", b), ("truth", TRUTH)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    paths = [str(folder / "a.json"), str(folder / "b.json")]
    arguments = [*paths, "--annotations", str(folder / "truth.json"), *options]
    return CliRunner().invoke(job.main, arguments)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([], [], ["0.0000", "0.0000", "+0.0000"]),
        (["b", "a", 9, 1], ["b", "a", 9, 1], ["1.0000", "1.0000", "+0.0000"]),
        # Half of the boxes: precision 1 up to recall 0.5, 51 of 101 points
        (["a", 1], ["b", "a", 9, 1], ["0.5050", "1.0000", "+0.4950"]),
    ],
)
def test_table(tmp_path, a, b, expected):
    result = run(tmp_path, rows(a), rows(b), "--draws", "20")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert [line[0] for line in lines[1:4]] == ["AP", "AP50", "AP75"]
    assert all(line[1:4] == expected for line in lines[1:4])


def test_detections_are_matched_one_to_one(tmp_path):
    """On image 9 half of the box is left; image 1 has a second one in a, with a low score."""
    a = [*rows(["b", 9, 1]), *rows([1])]
    a[-1]["score"] = 0.2
    b = rows(["b", "a", 9, 1])
    b[2]["bbox"] = [15, 5, 20, 20]
    result = run(tmp_path, a, b, "--draws", "20")
    # Matched on "b" and 1; alone are "a" and both boxes of 9; the low score does not count.
    assert result.output.splitlines()[-1] == "4 of 7 detections matched (57.14%)"


def test_groups_are_drawn_together(tmp_path):
    """One box of each tile is found, so every draw of whole tiles has the same AP."""
    grouped = run(tmp_path, rows(["a", 1]), rows(["b", "a", 9, 1]), "--group-by", "tile")
    assert grouped.output.splitlines()[1].endswith("+0.4950 to +0.4950")
    single = run(tmp_path, rows(["a", 1]), rows(["b", "a", 9, 1]))
    assert not single.output.splitlines()[1].endswith("+0.4950 to +0.4950")


@pytest.mark.parametrize(
    ("a", "options", "message"),
    [
        ({"annotations": []}, [], "not a list of COCO results"),
        (rows(["unknown"]), [], "'\"unknown\"' is missing in a row, or not in the annotation"),
        ([{"image_id": "a", "category_id": 7, "score": 1}], [], "'bbox' is missing"),
        ([], ["--group-by", "camera"], "image b has no such entry"),
    ],
)
def test_unusable_input_is_explained(tmp_path, a, options, message):
    result = run(tmp_path, a, [], *options)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_rotated_boxes_are_refused(tmp_path):
    turned = [row | {"bbox": [*row["bbox"], 0.5]} for row in rows(["a"])]
    result = run(tmp_path, rows(["a"]), turned)
    assert result.exit_code == 1
    assert "have 5 numbers, not 4" in " ".join(result.output.split())
