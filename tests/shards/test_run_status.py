"""A run's folder as somebody else reads it, who changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import attempt_shard, commit_shard, make_results, make_run_plan

from odtk_ray.errors import UsageError
from odtk_ray.shards import run_folder as run_folder_module
from odtk_ray.shards.image_stamps import ImageStamps
from odtk_ray.shards.run_events import EventLog, RunEvent, read_events
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.run_status import read_status, run_name

IMAGES = 200
FAILED = {3, 50, 51}


def make_folder(path, shards):
    """A run of which the first shards are committed."""
    run = RunFolder.create(str(path), make_run_plan(list(range(IMAGES))))
    results = make_results(IMAGES, failed=FAILED)
    for shard in run.plan.shards[:shards]:
        commit_shard(run, shard, results)
    return run, results


def content(folder):
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("shards", [0, 1, 3, None])
def test_what_is_done_is_what_the_driver_counts(tmp_path, shards):
    run, _ = make_folder(tmp_path / "run", shards)
    found = read_status(run.path)
    done = [int(row) for number in run.committed for row in run.plan.shards[number].rows]
    assert (found.images, found.shards) == (IMAGES, len(run.plan.shards))
    assert (found.done, found.shards_done) == (run.images_done, len(run.committed))
    assert found.done == len(done)
    assert found.failed == run.images_failed == len(FAILED & set(done))
    assert found.detections == sum(receipt.detections for receipt in run.committed.values())
    assert (found.state, found.drivers, found.events) == ("running", 1, [])


def test_reading_changes_nothing_and_claims_nothing(tmp_path):
    run, _ = make_folder(tmp_path / "run", 2)
    for name in ("commits.jsonl", "events.jsonl"):
        with (tmp_path / "run" / name).open("ab") as stream:
            stream.write(b'{"shard": 2, "na')  # as a killed driver leaves it
    before = content(run.path)
    assert read_status(run.path).shards_done == 2
    assert content(run.path) == before
    run.check_owner()


# Writes each line of its standard input's first line in two halves, and waits after each of them.
_WRITER = """
import json, sys
lines = json.loads(sys.stdin.readline())
with open(sys.argv[1], "ab", buffering=0) as journal:
    for line in lines:
        for part in (line[: len(line) // 2], line[len(line) // 2 :] + "\\n"):
            journal.write(part.encode())
            print("written", flush=True)
            sys.stdin.readline()
"""


def test_another_process_may_append_meanwhile(tmp_path):
    """Its lines stay whole, and one that is half written is not counted yet."""
    run, results = make_folder(tmp_path / "run", 1)
    later = [attempt_shard(run, shard, results) for shard in run.plan.shards[1:]]
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "run" / "commits.jsonl")]
    counts = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        writer.stdin.write(json.dumps([json.dumps(asdict(r)) for r in later]) + "\n")
        writer.stdin.flush()
        while writer.stdout.readline():
            counts.append(read_status(run.path).shards_done)
            writer.stdin.write("\n")
            writer.stdin.flush()
    assert counts == [1 + half // 2 for half in range(1, 2 * len(later) + 1)]
    again = RunFolder.reopen(run.path)
    again.take_over()
    assert again.missing_shards() == []


def test_a_driver_ends_the_torn_line_of_the_one_before(tmp_path):
    run, results = make_folder(tmp_path / "run", 1)
    with (tmp_path / "run" / "commits.jsonl").open("ab") as stream:
        stream.write(b'{"shard": 1, "na')
    again = RunFolder.reopen(run.path)
    again.take_over()
    for shard in again.missing_shards():
        commit_shard(again, shard, results)
    third = RunFolder.reopen(run.path)
    third.take_over()
    assert third.committed == again.committed
    assert third.missing_shards() == []
    assert read_status(run.path).done == IMAGES


def test_the_speed_is_that_of_the_newest_drivers_last_minutes(tmp_path, monkeypatch):
    """Commits at 1000 s and 2000 s; 90 s later the last one, of 32 images."""
    run, results = make_folder(tmp_path / "run", 0)
    assert read_status(run.path).rate is None
    for shard, now in zip(run.plan.shards, (1000.0, 2000.0, 2090.0), strict=False):
        monkeypatch.setattr(run_folder_module.time, "time", lambda now=now: now)
        commit_shard(run, shard, results)
    found = read_status(run.path)
    last = len(run.plan.shards[2])
    assert found.rate == pytest.approx(last / 90)
    assert found.seconds_left == pytest.approx((IMAGES - found.done) / (last / 90))
    assert found.last_sign == 2090.0
    again = RunFolder.reopen(run.path)
    again.take_over()
    later = read_status(run.path)
    assert (later.drivers, later.done) == (2, found.done)
    assert later.rate is later.seconds_left is None  # of the new driver nothing is known


def test_shards_of_replaced_images_do_not_count(tmp_path):
    run, results = make_folder(tmp_path / "run", 0)
    stamps = ImageStamps(*(run.plan.records["index"].to_numpy() * 0 + 1 for _ in range(4)))
    other = RunFolder.create(str(tmp_path / "stamped"), run.plan, stamps)
    for shard in other.plan.shards[:3]:
        commit_shard(other, shard, results)
    again = RunFolder.reopen(other.path)
    replaced = stamps.size < 0
    replaced[other.plan.shards[1].rows[0]] = True
    again.renew(stamps, replaced)
    again.take_over()
    assert set(again.committed) == {0, 2}
    found = read_status(other.path)
    assert (found.done, found.shards_done) == (again.images_done, 2)


def test_events_come_back_in_order_and_say_how_the_run_ended(tmp_path):
    run, _ = make_folder(tmp_path / "run", 1)
    events = [
        RunEvent(5.0, 1, "begin", "process 7 on a has 200 images to do"),
        RunEvent(6.5, 1, "warning", "node b is gone\n\u2028", "look"),
        RunEvent(7.0, 1, "stopped", "no worker is left"),
    ]
    log = EventLog(run.path, run.digest, 1)
    for event in events:
        log.add(event)
    log.close()
    found = read_status(run.path)
    assert (found.events, found.state) == (events, "stopped")
    again = RunFolder.reopen(run.path)
    again.take_over()
    assert read_status(run.path).state == "running"
    with (tmp_path / "run" / "events.jsonl").open("ab") as stream:
        stream.write(b'{"at": 8')
    log = EventLog(again.path, again.digest, again.epoch)
    log.add(end := RunEvent(9.0, 2, "finished", "the outputs are written"))
    log.close()
    assert read_events(run.path, run.digest) == [*events, end]
    assert read_status(run.path).state == "finished"


def test_events_that_cannot_be_stored_are_lost_and_nothing_else(tmp_path):
    log = EventLog(str(tmp_path / "gone"), "0" * 64, 1)
    log.add(RunEvent(1.0, 1, "note", "nobody hears it"))
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_an_object_store_is_read_likewise(s3):
    run = RunFolder.create(f"{s3.url}/run", make_run_plan(list(range(IMAGES))))
    results = make_results(IMAGES, failed=FAILED)
    for shard in run.plan.shards[:2]:
        commit_shard(run, shard, results)
    log = EventLog(run.path, run.digest, run.epoch)
    log.add(event := RunEvent(6.5, 1, "note", "category_id is the class index"))
    log.close()
    found = read_status(run.path)
    assert (found.done, found.failed) == (run.images_done, run.images_failed)
    assert (found.drivers, found.events) == (1, [event])
    run.check_owner()


def damage_plan(folder):
    (folder / "plan.json").write_bytes(b"{}")


def remove_records(folder):
    next(folder.glob("plan-*.parquet")).write_bytes(b"PAR1")


def journal_of_another(folder):
    journal = folder / "commits.jsonl"
    receipt = json.loads(journal.read_text(encoding="utf-8").splitlines()[0])
    journal.write_text(json.dumps(receipt | {"shard": 10**6}) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_plan, "format"),
        (remove_records, "cannot read the run"),
        (journal_of_another, "line 1 of its journal"),
    ],
)
def test_a_damaged_folder_is_named(tmp_path, damage, said):
    run, _ = make_folder(tmp_path / "run", 1)
    damage(tmp_path / "run")
    with pytest.raises(UsageError, match=said):
        read_status(run.path)


def test_what_is_no_run_folder_is_named_with_where_one_is(tmp_path):
    for path in (tmp_path, tmp_path / "nothing", Path(__file__)):
        with pytest.raises(UsageError, match="is no run folder"):
            read_status(str(path))
    make_folder(tmp_path / "out.json.run", 0)
    with pytest.raises(UsageError) as caught:
        read_status(str(tmp_path / "out.json"))
    assert "out.json.run" in caught.value.hint


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60))
def test_names_of_runs_are_plain_and_differ_with_their_folders(name):
    one, other = run_name(f"/a/{name}.run"), run_name(f"/b/{name}.run")
    assert one != other
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,40}-[0-9a-f]{6}", one)
    assert run_name(f"/a/{name}.run") == one


def test_the_name_of_a_run_is_that_of_its_folder():
    name = run_name("s3://bucket/night/out.json.run")
    assert name.startswith("out.json-")
    assert name == run_name("s3://bucket/night/out.json.run/")
