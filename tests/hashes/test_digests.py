"""What the hashes of a refactoring's net see, and what they leave out."""

from __future__ import annotations

import copy
import json

import pytest
from digests import of_lines, of_plan, of_run_folder, of_sidecar
from hash_outputs import differences, markdown
from synthetic import make_results, make_run

TABLE = {"environment": {"torch": "2"}, "hashes": {"a": {"x": "11", "y": "22"}, "b": {"x": "33"}}}
HEAD = ["| differs: run | file | before | after |", "|---|---|---|---|"]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({}, []),
        ({"a": {"x": "11", "y": "44"}}, ["| a | y | 22 | 44 |"]),
        ({"a": {"y": "22", "x": "11"}, "b": {}}, ["| b | x | 33 | none |"]),
        ({"c": {"x": "11"}}, ["| c | x | none | 11 |"]),
    ],
)
def test_every_difference_is_a_line(change, lines):
    after = copy.deepcopy(TABLE)
    after["hashes"] |= change
    assert differences(TABLE, after) == ([*HEAD, *lines] if lines else [])


def test_another_environment_is_named_where_hashes_differ():
    other = TABLE | {"environment": {"torch": "3"}}
    assert differences(TABLE, other) == []
    assert "torch was 2, is 3" in differences(TABLE, other | {"hashes": {}})[-1]
    assert markdown(TABLE["hashes"])[2:] == ["| a | x | 11 |", "| a | y | 22 |", "| b | x | 33 |"]


def test_a_run_folder_is_the_same_wherever_it_lies(tmp_path):
    results = make_results(40)
    first, second, other = (str(tmp_path / name) for name in ("first", "second", "other"))
    for folder in (first, second):
        make_run(folder, range(40), results)
    assert of_run_folder(tmp_path / "first") == of_run_folder(tmp_path / "second")
    make_run(other, range(40), make_results(40, seed=1))
    rows = [of_run_folder(tmp_path / name) for name in ("first", "other")]
    assert [name for name in rows[0] if rows[0][name] != rows[1][name]] == ["journal", "shards"]


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plan_without_versions_and_paths(tmp_path):
    def plan(version, folder, threads):
        settings = {"images": f"{folder}/images", "versions": version, "threads": threads}
        document = {"records": folder, "settings": settings, "outputs": {}}
        return of_plan(written(tmp_path / "plan.json", json.dumps(document)), folder)

    assert plan(1, "/a", 1) == plan(2, "/b/c", 1)
    assert plan(1, "/a", 1) != plan(1, "/a", 2)


def test_messages_do_not_count_and_failures_do(tmp_path):
    def lines(*rows):
        return of_lines(written(tmp_path / "x.jsonl", "".join(map("{}\n".format, rows))))

    good = '{"image_id": 1, "detections": []}'
    bad = '{"image_id": 2, "detections": [], "error": "one"}'
    assert lines(good, bad) == lines(good, bad.replace("one", "two"))
    assert len({lines(), lines(good), lines(good, bad), lines(bad, good)}) == 4
    assert lines(good) != lines(good.replace("}", ', "error": "one"}'))


def test_a_sidecar_without_its_plan(tmp_path):
    def sidecar(plan, size):
        facts = {"identity": "i", "size": size, "plan_sha256": plan, "plan_bytes": len(plan)}
        return of_sidecar(written(tmp_path / "m.plan.json", json.dumps(facts)))

    assert sidecar("a", 1) == sidecar("bc", 1) != sidecar("a", 2)
