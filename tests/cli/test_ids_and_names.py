"""Ids and names as files have them: a run writes them, or refuses them before it begins."""

from __future__ import annotations

import json
import os

import pyarrow.parquet as pq
import pytest
from synthetic import picture
from test_infer import infer

HALF = "tree\ud800"


@pytest.fixture
def given(tmp_path):
    """Writes an annotation file of one picture and box, with these ids; returns the flags."""
    (tmp_path / "in").mkdir()
    picture(1, 80, 60).save(tmp_path / "in" / "a.png")

    def flags(image=1, category=1, name="tree"):
        document = {
            "images": [{"id": image, "file_name": "a.png", "width": 80, "height": 60}],
            "categories": [{"id": category, "name": name}, {"id": 2}, {"id": 3}],
            "annotations": [
                {"id": 1, "image_id": image, "category_id": category, "bbox": [1, 2, 30, 40]}
            ],
        }
        path = tmp_path / "in" / "a.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return "--images", tmp_path / "in", "--annotations", path

    return flags


@pytest.mark.parametrize("number", [2**63 - 1, 2**64 - 1, 10**30, 7.0])
def test_ids_of_any_length(runs, checkpoint, given, tmp_path, number):
    table = tmp_path / "out.parquet"
    outcome = infer(checkpoint, tmp_path, *given(number, number), "--output", table)
    assert outcome.exit_code == 0, outcome.stderr
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert {row["image_id"] for row in document["annotations"]} == {number}
    assert document["images"][0]["id"] == document["categories"][0]["id"] == number
    fits = number < 2**63
    wanted = {int(number) if fits else str(number)}
    assert set(pq.read_table(table)["image_id"].to_pylist()) == wanted
    assert wanted <= set(pq.read_table(table)["category_id"].to_pylist())
    assert (
        json.loads((tmp_path / "out.metrics.json").read_text(encoding="utf-8"))["classes"][0][
            "boxes"
        ]
        == 1
    )


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_half_characters_are_refused_before_the_run(runs, checkpoint, given, tmp_path, end):
    flags = *given(name=HALF), "--output", tmp_path / f"out.{end}"
    outcome = infer(checkpoint, tmp_path, *flags)
    assert outcome.exit_code == 2
    assert f'out.{end}: the class name "tree\\ud800" has half a character' in outcome.stderr
    assert "hint: correct it, or give outputs that end in .json or .jsonl" in outcome.stderr
    assert os.listdir(tmp_path) == ["in"]


def test_half_characters_in_json_and_on_the_screen(runs, checkpoint, given, tmp_path):
    outcome = infer(checkpoint, tmp_path, *given(image=HALF, name=HALF))
    assert outcome.exit_code == 0, outcome.stderr
    assert "tree\\ud800" in outcome.stdout
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert document["categories"][0]["name"] == document["images"][0]["id"] == HALF
