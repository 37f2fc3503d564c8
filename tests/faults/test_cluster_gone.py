"""The cluster ends under a run: one sentence says so, and nothing half done is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from synthetic import picture

from odtk_ray.errors import EXIT_FAILED

pytestmark = [pytest.mark.cluster, pytest.mark.long]

TESTS = Path(__file__).parents[1]
RESUME = "  hint: finished shards are kept; continue with --resume once the cause is gone"


@pytest.fixture
def lone_cluster():
    """A cluster that nobody else uses."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent)))}
    command = [sys.executable, str(TESTS / "lone_cluster.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=variables, **pipes) as process:
        yield json.loads(next(line for line in process.stdout if line.startswith(b"{")))
        process.stdin.close()
        process.wait()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("raylet", "Ray has ended on the driver's machine: its raylet is gone"),
        ("gcs_server", "the Ray cluster is gone: its head does not answer since 30 s"),
    ],
)
def test_a_cluster_that_ends_is_said_in_one_sentence(
    lone_cluster, checkpoint, tmp_path, kind, said
):
    images = tmp_path / "images"
    images.mkdir()
    picture(0, 40, 32).save(images / "0000.png")
    for number in range(1, 3000):
        (images / f"{number:04d}.png").symlink_to("0000.png")
    command = [sys.executable, "-m", "odtk_ray", "infer", str(checkpoint), "--images", str(images)]
    command += ["--output", str(tmp_path / "out.json"), "--address", lone_cluster["address"]]
    command += ["--resize", "128", "--max-size", "256"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        journal = tmp_path / "out.json.run" / "commits.jsonl"
        while not (journal.exists() and journal.stat().st_size) and driver.poll() is None:
            time.sleep(0.1)
        for process in lone_cluster["processes"][kind]:
            os.kill(process, signal.SIGKILL)
        out, err = driver.communicate()
    assert driver.returncode == EXIT_FAILED
    assert out == ""
    assert err.splitlines()[-2:] == [f"error: {said}", RESUME]
    assert not any("E " in line[:40] and "rpc" in line for line in err.splitlines())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out.json.run"]
    assert list((tmp_path / "out.json.run").rglob("*.tmp")) == []
