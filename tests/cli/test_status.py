"""`odtk-ray status` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from synthetic import commit_shard, make_results, make_run_plan

from odtk_ray.cli.program import cli
from odtk_ray.shards.run_events import EventLog, RunEvent
from odtk_ray.shards.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    run = RunFolder.create(str(tmp_path / "out.json.run"), make_run_plan(list(range(200))))
    for shard in run.plan.shards[:3]:
        commit_shard(run, shard, make_results(200, failed={1}))
    log = EventLog(run.path, run.digest, run.epoch)
    for number in range(15):
        log.add(RunEvent(float(number), 1, "note", f"remark {number} \x1b[31m", "do this"))
    log.close()
    return run


def test_people_read_what_is_done_and_the_last_events(folder):
    done = CliRunner().invoke(cli, ["status", folder.path])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    first = dict(line.split(None, 1) for line in lines[:5])
    share = folder.images_done / 200
    assert first["images"] == f"{folder.images_done} of 200 images done ({share:.1%}), 1 failed"
    assert first["shards"] == f"3 of {len(folder.plan.shards)}"
    assert first["state"].startswith("running, or killed: last sign of life 0:00:")
    events = [line for line in lines if "remark" in line]
    assert [line.split("remark ")[1].split()[0] for line in events] == list(map(str, range(5, 15)))
    assert all(line.endswith("(hint: do this)") for line in events)
    assert "\x1b" not in done.output


def test_programs_read_json(folder):
    done = CliRunner().invoke(cli, ["status", folder.path, "--json"])
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert (found["images"], found["done"], found["failed"]) == (200, folder.images_done, 1)
    assert found["state"] == "running"
    assert [event["text"].split()[1] for event in found["events"]] == list(map(str, range(15)))


def test_what_is_no_run_folder_is_wrong_usage(tmp_path):
    done = CliRunner().invoke(cli, ["status", str(tmp_path)])
    assert done.exit_code == 2
    assert "is no run folder" in done.output
    assert CliRunner().invoke(cli, ["status"]).exit_code == 2


def test_it_needs_neither_torch_nor_ray(folder):
    code = (
        "import sys, odtk_ray; odtk_ray.status(sys.argv[1]);"
        "sys.exit(bool({'torch', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, folder.path], check=False).returncode == 0
