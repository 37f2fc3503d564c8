from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import attempt_shard, commit_shard, make_results, make_run, make_run_plan

from odtk_ray import storage
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.shards.run_folder import RunFolder


def test_reopening_gives_the_same_plan_and_what_was_committed(tmp_path):
    path = str(tmp_path / "run")
    results = make_results(200)
    run = RunFolder.create(path, make_run_plan(list(range(200))))
    for shard in run.plan.shards[:3]:
        assert commit_shard(run, shard, results)
    again = RunFolder.reopen(path)
    assert again.committed == {}
    assert again.epoch == 0
    run.check_owner()  # reading a plan takes nothing over
    again.take_over()
    assert again.digest == run.digest
    assert again.plan.settings == run.plan.settings
    assert again.plan.outputs == run.plan.outputs
    assert again.plan.records.equals(run.plan.records)
    assert [s.rows.tolist() for s in again.plan.shards] == [
        s.rows.tolist() for s in run.plan.shards
    ]
    assert again.committed == run.committed
    assert len(again.missing_shards()) == len(run.plan.shards) - 3
    assert again.epoch == run.epoch + 1


def test_the_first_attempt_wins(tmp_path):
    run = make_run(tmp_path / "run", list(range(40)), make_results(40))
    before = dict(run.committed)
    assert not commit_shard(run, run.plan.shards[0], make_results(40, seed=9))
    assert run.committed == before


def test_the_first_of_two_attempts_in_one_commit_wins(tmp_path):
    run = RunFolder.create(str(tmp_path / "run"), make_run_plan(list(range(40))))
    shard = run.plan.shards[0]
    first = attempt_shard(run, shard, make_results(40), "1.1")
    second = attempt_shard(run, shard, make_results(40, seed=9), "1.2")
    assert run.commit(first, second) == 1
    assert run.committed == {0: first} == reopened(run.path).committed


def test_the_first_of_two_lines_of_the_journal_wins(tmp_path):
    """Two drivers may write at the same time, before the older one sees that it is."""
    run = make_run(tmp_path / "run", list(range(40)), make_results(40))
    second = attempt_shard(run, run.plan.shards[0], make_results(40, seed=9), "2.1")
    with open(tmp_path / "run" / "commits.jsonl", "a", encoding="utf-8") as journal:
        journal.write(json.dumps(asdict(second)) + "\n")
    again = reopened(run.path)
    assert again.committed == run.committed
    assert again.images_done == 40


def test_what_is_committed_is_on_the_disk(tmp_path, synced):
    results = make_results(200)
    run = RunFolder.create(str(tmp_path / "run"), make_run_plan(list(range(200))))
    journal = tmp_path / "run" / "commits.jsonl"
    for shard in run.plan.shards:
        commit_shard(run, shard, results)
        assert on_disk(journal) in synced[-2:]  # and then, of the first, its name
        assert on_disk(run.file(run.committed[shard.number])) in synced


def on_disk(path):
    status = os.stat(path)
    return status.st_ino, status.st_size


def test_an_existing_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="exists"):
        RunFolder.create(str(tmp_path), make_run_plan([1]))


def test_an_older_driver_stops_when_a_newer_one_took_over(tmp_path):
    path = str(tmp_path / "run")
    old = RunFolder.create(path, make_run_plan(list(range(100))))
    new = reopened(path)
    with pytest.raises(OdtkError, match="taken over"):
        commit_shard(old, old.plan.shards[0], make_results(100))
    assert new.committed == reopened(path).committed == {}


def test_of_drivers_that_start_together_one_owns_the_folder(tmp_path, monkeypatch):
    """Each has seen the same newest driver when it becomes the next one."""
    path = str(tmp_path / "run")
    RunFolder.create(path, make_run_plan([1]))
    drivers = [RunFolder.reopen(path) for _ in range(4)]
    list_files, seen = storage.list_files, threading.Barrier(4)

    def listed(*arguments, **options):
        found = list_files(*arguments, **options)
        seen.wait()
        return found

    monkeypatch.setattr(storage, "list_files", listed)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(RunFolder.take_over, drivers))
    drivers.sort(key=lambda driver: driver.epoch)
    assert [driver.epoch for driver in drivers] == [2, 3, 4, 5]
    assert [Path(d.token_file).read_text(encoding="utf-8") for d in drivers] == [
        d.token for d in drivers
    ]
    for older in drivers[:-1]:
        with pytest.raises(OdtkError, match="taken over"):
            older.check_owner()
    drivers[-1].check_owner()


def test_a_shard_with_rows_missing_is_not_committed(tmp_path):
    run = make_run(tmp_path / "run", list(range(100)), make_results(100))
    receipt = run.committed.pop(0)
    with pytest.raises(OdtkError, match="were planned"):
        run.commit(replace(receipt, rows=receipt.rows - 1))


def reopened(path):
    run = RunFolder.reopen(path)
    run.take_over()
    return run


@pytest.mark.parametrize("damage", ["garbled line", "torn line", "missing file", "changed file"])
def test_what_the_journal_cannot_prove_is_done_again(tmp_path, damage):
    path = str(tmp_path / "run")
    run = make_run(path, list(range(200)), make_results(200))
    last = len(run.plan.shards) - 1
    journal = os.path.join(path, "commits.jsonl")
    if damage == "torn line":
        os.truncate(journal, os.path.getsize(journal) - 10)
    elif damage == "garbled line":
        lines = Path(journal).read_bytes().splitlines(keepends=True)
        Path(journal).write_bytes(b"".join([*lines[:-1], b'{"shard": }\n']))
    elif damage == "missing file":
        os.unlink(run.file(run.committed[last]))
    else:
        with open(run.file(run.committed[last]), "ab") as stream:
            stream.write(b"x")
    again = reopened(path)
    assert [s.number for s in again.missing_shards()] == [last]
    commit_shard(again, again.plan.shards[last], make_results(200))
    assert reopened(path).missing_shards() == []
    assert (again.images_done, again.images_failed) == (200, 0)


@pytest.mark.parametrize("file", ["plan.json", "plan-*.parquet"])
def test_a_folder_without_a_whole_plan_cannot_be_resumed(tmp_path, file):
    path = tmp_path / "run"
    make_run(path, list(range(20)), make_results(20))
    with open(next(path.glob(file)), "r+b") as stream:
        stream.truncate(40)
    with pytest.raises(UsageError, match="cannot resume"):
        RunFolder.reopen(str(path))


def test_shard_files_say_what_they_are_and_nothing_of_time_or_host(tmp_path):
    results = make_results(40)
    first = make_run(tmp_path / "a", list(range(40)), results)
    second = make_run(tmp_path / "b", list(range(40)), results)
    for shard in first.plan.shards:
        one, two = (run.file(run.committed[shard.number]) for run in (first, second))
        data = Path(one).read_bytes()
        assert data == Path(two).read_bytes()
        assert hashlib.sha256(data).hexdigest() == first.committed[shard.number].sha256
        footer = pq.read_schema(one).metadata
        assert footer[b"odtk.plan"].decode() == first.digest
        assert footer[b"odtk.shard"].decode() == str(shard.number)
        assert footer[b"odtk.engine"] == b"test"


def test_plan_json_is_readable(tmp_path):
    make_run(tmp_path / "run", [1, 2], make_results(2))
    document = json.loads((tmp_path / "run" / "plan.json").read_text(encoding="utf-8"))
    assert document["settings"]["launch_batch"] == 4


# --- what does not belong together ---


def edit(path, change):
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def copy_plan(path, other):
    """The whole plan of another run, as somebody copies it who wants to change a setting."""
    for file in path.glob("plan*"):
        file.unlink()
    for file in Path(other.path).glob("plan*"):
        shutil.copy(file, path)


EDITS = {
    "a launch batch": lambda plan: plan["settings"].update(launch_batch=7),
    "category ids": lambda plan: plan["outputs"].update(category_ids=["7", "8", "9"]),
    "another model": lambda plan: plan["settings"].update(model="1" * 64),
    "a space": lambda plan: plan["outputs"].update(category_names=["0 ", "1", "2"]),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edited_plan_is_refused(tmp_path, change):
    path = tmp_path / "run"
    make_run(path, list(range(40)), make_results(40))
    edit(path / "plan.json", change)
    with pytest.raises(UsageError, match=r"its plan\.json was changed after epoch-0001"):
        RunFolder.reopen(str(path))
    assert not (path / "epoch-0002").exists()


def test_the_plan_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run"
    make_run(path, list(range(40)), make_results(40))
    copy_plan(path, make_run(tmp_path / "other", list(range(1, 41)), make_results(40)))
    with pytest.raises(UsageError, match="was changed"):
        RunFolder.reopen(str(path))


def test_the_epoch_file_of_a_killed_driver_says_nothing(tmp_path):
    path = tmp_path / "run"
    run = make_run(path, list(range(40)), make_results(40))
    (path / "epoch-0002").touch()
    assert reopened(str(path)).committed == run.committed
    edit(path / "plan.json", EDITS["a launch batch"])
    (path / "epoch-0004").touch()
    with pytest.raises(UsageError, match="after epoch-0003"):
        RunFolder.reopen(str(path))


@pytest.mark.parametrize("digits", ["9" * 23, "1" * 200, "2", "00003"])
def test_absurd_epochs_are_refused(tmp_path, digits):
    path = tmp_path / "run"
    make_run(path, [1], make_results(1))
    (path / f"epoch-{digits}").touch()
    with pytest.raises(UsageError, match=r"no driver wrote the epoch-\d+ that is in it"):
        RunFolder.reopen(str(path))


WRONG_PLANS = {
    "no settings": (lambda plan: plan.pop("settings"), "its plan is damaged: it has no settings"),
    "half of them": (lambda plan: plan["settings"].pop("threads"), "damaged: it has no threads"),
    "no outputs": (lambda plan: plan.update(outputs=[]), r"damaged: outputs is \[\], not a table"),
    "types": (lambda plan: plan["settings"].update(threads="2"), "threads is '2', not a whole"),
    "range": (lambda plan: plan["settings"].update(launch_batch=0), "launch_batch is 0, not a"),
    "options": (
        lambda plan: plan["settings"]["preprocessing"].update(resize=0),
        "preprocessing: --resize 0 is out of range",
    ),
    "NaN": (
        lambda plan: plan["settings"]["postprocessing"].update(nms=float("nan")),
        r"postprocessing\.nms is nan, not a finite number",
    ),
    "records": (lambda plan: plan.update(records="../../../x"), "records is no digest"),
    "other records": (lambda plan: plan.update(records="0" * 64), "cannot be read: No such file"),
    "old format": (
        lambda plan: plan.update(format=1),
        r"its format is 1, and this version reads 3\n  hint: finish it with the version",
    ),
    "no format": (lambda plan: plan.pop("format"), "damaged: it has no format"),
}


@pytest.mark.parametrize(("change", "message"), WRONG_PLANS.values(), ids=WRONG_PLANS)
def test_what_cannot_be_a_plan_is_refused(tmp_path, change, message):
    path = tmp_path / "run"
    make_run(path, list(range(40)), make_results(40))
    edit(path / "plan.json", change)
    with pytest.raises(UsageError, match=message) as error:
        RunFolder.reopen(str(path))
    assert str(error.value).startswith(f"cannot resume from {path}: ")


def without_last(table):
    return table.slice(0, len(table) - 1)


WRONG_RECORDS = {
    "columns": (lambda t: t.drop(["entry"]), "other columns"),
    "types": (lambda t: t.set_column(7, "shard", t["shard"].cast("int64")), "other columns"),
    "rows": (without_last, "its shards are not whole"),
    "order": (lambda t: t.take([1, 0, *range(2, len(t))]), "not in order"),
    "shards": (
        lambda t: t.set_column(7, "shard", pa.array([2**31 - 1] * len(t), pa.int32())),
        "not in order",
    ),
    "positions": (
        lambda t: t.set_column(8, "position", pa.array([0] * len(t), pa.int32())),
        "its shards are not whole",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG_RECORDS.values(), ids=WRONG_RECORDS)
def test_what_cannot_be_records_is_refused(tmp_path, change, message):
    path = tmp_path / "run"
    make_run(path, list(range(40)), make_results(40))
    (records,) = path.glob("plan-*.parquet")
    table = change(pq.read_table(records))
    pq.write_table(table, records)
    digest = hashlib.sha256(records.read_bytes()).hexdigest()
    records.rename(path / f"plan-{digest[:16]}.parquet")
    edit(path / "plan.json", lambda plan: plan.update(records=digest))
    with pytest.raises(UsageError, match=message):
        RunFolder.reopen(str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard": 99}, "shard is 99, and there are 9"),
        ({"shard": -1}, "shard is -1, not a number from 0"),
        ({"rows": 5}, "rows is 5, and 32 were planned"),
        ({"rows": True}, "rows is True, not a whole number"),
        ({"failed": -3}, "failed is -3, not a number from 0"),
        ({"name": "../../plan.json"}, "name is '../../plan.json', which no file of shard 0 has"),
        (
            {"name": "000001-1.1.parquet"},
            "name is '000001-1.1.parquet', which no file of shard 0 has",
        ),
        ({"novel": 1}, "it has an unknown 'novel'"),
        ({"sha256": None}, "sha256 is None, not text"),
    ],
)
def test_a_journal_that_does_not_fit_the_plan_is_refused(tmp_path, changes, message):
    path = tmp_path / "run"
    run = make_run(path, list(range(200)), make_results(200))
    line = json.dumps(asdict(run.committed[0]) | changes)
    (path / "commits.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 1 of its journal does not fit its plan") as error:
        reopened(str(path))
    assert message in str(error.value)


def test_shard_files_of_another_run_are_refused(tmp_path):
    """Files and journal were copied; the names and hashes in them fit."""
    other = make_run(tmp_path / "other", list(range(1, 41)), make_results(40))
    run = make_run(tmp_path / "run", list(range(40)), make_results(40))
    shutil.copytree(Path(other.path) / "shards", Path(run.path) / "shards", dirs_exist_ok=True)
    shutil.copy(Path(other.path) / "commits.jsonl", run.path)
    with pytest.raises(UsageError, match=r"00000\d-1\.1\.parquet belongs to another run"):
        reopened(run.path)


def test_an_edited_plan_in_a_bucket_does_not_drop_its_commits(s3, tmp_path):
    uri = f"{s3.url}/run"
    run = make_run(uri, list(range(40)), make_results(40))
    text = storage.read_bytes(f"{uri}/plan.json")
    storage.write_atomic(
        f"{uri}/plan.json", text.replace(b'"launch_batch": 4', b'"launch_batch": 7')
    )
    with pytest.raises(UsageError, match="was changed after epoch-0001"):
        RunFolder.reopen(uri)
    storage.write_atomic(f"{uri}/plan.json", text)
    assert reopened(uri).committed == run.committed
