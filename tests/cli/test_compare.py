"""`odtk-ray compare`: detectors side by side, with ground truth and without."""

import json

import pytest
from click.testing import CliRunner

from odtk_ray.cli.program import cli

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


def run(folder, *found, options=(), truth=True):
    names = "abc"[: len(found)]
    for name, content in (*zip(names, found, strict=True), ("truth", TRUTH)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    given = ["--annotations", str(folder / "truth.json")] if truth else []
    paths = [str(folder / f"{name}.json") for name in names]
    return CliRunner().invoke(cli, ["compare", *paths, *given, *options])


def figures(result):
    """The rows AP, AP50 and AP75 of each pair."""
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    return [line for line in lines if line and line[0] in ("AP", "AP50", "AP75")]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([], [], ["0.0000", "0.0000", "+0.0000"]),
        (["b", "a", 9, 1], ["b", "a", 9, 1], ["1.0000", "1.0000", "+0.0000"]),
        # Half of the boxes: precision 1 up to recall 0.5, 51 of 101 points
        (["a", 1], ["b", "a", 9, 1], ["0.5050", "1.0000", "+0.4950"]),
    ],
)
def test_figures(tmp_path, a, b, expected):
    found = figures(run(tmp_path, rows(a), rows(b), options=["--draws", "20"]))
    assert [line[0] for line in found] == ["AP", "AP50", "AP75"]
    assert all(line[1:4] == expected for line in found)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (["a", 1], ["a", 1], "a.json and b.json have the same AP in every draw of images"),
        (["a", 9], [1, 9], "the difference of AP may be chance: the 95% interval"),
    ],
)
def test_it_says_whether_the_difference_may_be_chance(tmp_path, a, b, words):
    assert words in run(tmp_path, rows(a), rows(b)).stdout


@pytest.mark.parametrize("swapped", [False, True])
def test_it_says_which_one_is_better(tmp_path, swapped):
    """One box of each tile is found, so every draw of whole tiles has the same AP."""
    a, b = (rows(found) for found in (["a", 1], ["b", "a", 9, 1]))
    found = [b, a] if swapped else [a, b]
    result = run(tmp_path, *found, options=["--group-by", "tile"])
    better, worse = ("a.json", "b.json") if swapped else ("b.json", "a.json")
    assert f"{better} is better than {worse} by more than chance" in result.stdout


def test_groups_are_drawn_together(tmp_path):
    found = rows(["a", 1]), rows(["b", "a", 9, 1])
    grouped = figures(run(tmp_path, *found, options=["--group-by", "tile"]))
    assert grouped[0][-3:] == ["+0.4950", "to", "+0.4950"]
    single = figures(run(tmp_path, *found))
    assert single[0][-3:] != ["+0.4950", "to", "+0.4950"]


def test_every_other_file_is_compared_with_the_first(tmp_path):
    result = run(tmp_path, rows(["a", 1]), rows(["a", 1]), rows(["b", "a", 9, 1]))
    assert [line[3] for line in figures(result)] == ["+0.0000"] * 3 + ["+0.4950"] * 3


@pytest.mark.parametrize("truth", [True, False])
def test_detections_are_matched_one_to_one(tmp_path, truth):
    """On image 9 half of the box is left; image 1 has a second one in a, with a low score."""
    a = [*rows(["b", 9, 1]), *rows([1])]
    a[-1]["score"] = 0.2
    b = rows(["b", "a", 9, 1])
    b[2]["bbox"] = [15, 5, 20, 20]
    result = run(tmp_path, a, b, truth=truth)
    # Matched on "b" and 1; alone are "a" and both boxes of 9; the low score does not count.
    assert "4 of 7 detections matched (57.14%)" in result.stdout.splitlines()
    alone = [line.split() for line in result.stdout.splitlines() if " 0.900 " in line]
    labels = {True: ("tree", "9.png", "a.png"), False: ("7", "9", '"a"')}[truth]
    assert ["a", labels[0], "0.900", labels[1]] in alone
    assert ["b", labels[0], "0.900", labels[2]] in alone
    assert ["b", labels[0], "0.900", labels[1]] in alone
    assert len(alone) == 3


def test_the_file_has_what_is_printed_and_more(tmp_path):
    target = tmp_path / "comparison.json"
    result = run(tmp_path, rows(["a", 1]), rows(["a"]), options=["--output", str(target)])
    assert f"wrote {target}" in result.stdout
    (pair,) = json.loads(target.read_text(encoding="utf-8"))["pairs"]
    assert pair["a"].endswith("a.json")
    assert pair["b"].endswith("b.json")
    assert pair["figures"]["AP"]["a"] == pytest.approx(51 / 101)
    assert (pair["matched"], pair["counted"]) == (2, 3)
    assert pair["only_a"] == {
        "count": 1,
        "first": [{"image": "1.png", "category": "tree", "score": 0.9, "bbox": [5, 5, 20, 20]}],
    }
    # Both have found the box of a; that of 1 is missed by b.
    (image,) = pair["images"]
    assert (image["image"], image["difference"]) == ("1.png", 1)
    assert (image["a"]["right"], image["b"]["missed"]) == (1, 1)


def test_equal_files_without_truth_match_whatever_their_formats(tmp_path):
    found = rows(["b", 9, 1])
    lines = [{"image_id": row["image_id"], "detections": [row]} for row in found]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "b.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps(found), encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("a.json", "b.jsonl")]
    result = CliRunner().invoke(cli, ["compare", *paths])
    assert "6 of 6 detections matched (100.00%)" in result.stdout


@pytest.mark.parametrize(
    ("a", "options", "message"),
    [
        ({"images": []}, [], "neither a list of detections nor an object with `annotations`"),
        (rows(["unknown"]), [], "all its 1 detection is of images that"),
        ([{"image_id": "a", "category_id": 7, "score": 1}], [], "a detection has no bbox"),
        ([], ["--group-by", "camera"], 'image "b" has no such entry'),
        ([row | {"bbox": [5, 5, 20, 20, 0.5]} for row in rows(["a"])], [], "5 numbers, not 4"),
        ([], ["--draws", "0"], "--draws 0 is out of range"),
    ],
)
def test_unusable_input_is_explained(tmp_path, a, options, message):
    result = run(tmp_path, a, [], options=options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_files_that_have_no_image_in_common_are_refused(tmp_path):
    result = run(tmp_path, rows(["a"]), rows(["b"]), truth=False)
    assert result.exit_code == 2
    assert "have no image in common" in result.stderr


def test_files_that_have_no_category_in_common_are_remarked_on(tmp_path):
    other = [row | {"category_id": "another"} for row in rows(["a"])]
    result = run(tmp_path, rows(["a"]), other, truth=False)
    assert result.exit_code == 0
    assert "have no category in common" in " ".join(result.stderr.split())
    assert "no category in common" not in run(tmp_path, rows(["a"]), [], truth=False).stderr


def test_one_file_is_not_compared(tmp_path):
    result = run(tmp_path, rows(["a"]))
    assert result.exit_code == 2
    assert "there is nothing to compare with" in result.stderr


def test_no_input_is_replaced(tmp_path):
    result = run(tmp_path, rows(["a"]), rows(["a"]), options=["--output", str(tmp_path / "a.json")])
    assert result.exit_code == 2
    assert "would replace" in result.stderr
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == rows(["a"])
