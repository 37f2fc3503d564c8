"""Builds of engine sets that die, raise, lose their node, meet a full disk, or are stopped."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from effort import long_case
from machines_for_tests import A10G, ADA, H100, QUADRO, having, simulated, unable

from odtk_ray.artifacts.engine_set import read_engine_set, read_plan_and_sidecar
from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.cli.program import cli
from odtk_ray.exports.engine_set import export_set as module

pytest.importorskip("tensorrt_rtx")
pytestmark = pytest.mark.cluster

TESTS = Path(__file__).parents[1]
# The command line in a process of its own, on simulated GPUs.
PROGRAM = """
import functools
from machines_for_tests import simulated, unable
from odtk_ray.exports.engine_set import export_set as module
module.export_set = functools.partial(
    module.export_set, inspect=simulated, open_built=unable
)
from odtk_ray.cli.process import main
main()
"""


@pytest.fixture
def export(cluster, graph, monkeypatch):
    """`odtk-ray export --gpu-type all` on the cluster."""
    with_detect = functools.partial(module.export_set, inspect=simulated, open_built=unable)
    monkeypatch.setattr(module, "export_set", with_detect)

    def run(folder, *flags):
        arguments = ["export", graph, folder, "--gpu-type", "all", *flags]
        return CliRunner().invoke(cli, [*map(str, arguments), "--address", cluster.address])

    return run


def states(output):
    """State of each plan, by its GPU's name."""
    lines = re.findall(r"^(built|kept|failed) +(\S+?)_", output, re.MULTILINE)
    return {name: state for state, name in lines}


def whole(folder):
    """GPUs of the plans that engines.json lists, each of which is there and whole."""
    engines = read_engine_set(str(folder)).engines
    for key, about in engines.items():
        assert read_sidecar(str(folder / f"{key}.plan")) == about
    return {about.gpu for about in engines.values()}


def temporary(folder):
    return [path.name for path in folder.iterdir() if path.suffix == ".tmp"]


@contextlib.contextmanager
def watching(look):
    """Calls `look` all the time; yields the list of what it returned."""
    done, seen = threading.Event(), []

    def run():
        while not done.is_set():
            seen.append(look())
            time.sleep(0.02)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def test_a_build_that_dies_or_raises_fails_alone(cluster, export, tmp_path):
    """Two before the build, one in the check of what was built."""
    marks = [tmp_path / name for name in ("die", "raise", "late")]
    for mark in marks:
        mark.touch()
    cluster.add(kind="H100", **having(H100))
    cluster.add(kind="A10G", **having(A10G, build=f"die:{marks[0]}"))
    cluster.add(kind="RTX-6000", **having(ADA, build=f"raise:{marks[1]}"))
    cluster.add(kind="RTX-6000", **having(QUADRO, check=f"die:{marks[2]}"))
    folder = tmp_path / "engines"
    folder.mkdir()

    def look():
        plans = [read_plan_and_sidecar(str(folder), path.stem) for path in folder.glob("*.plan")]
        return None not in plans and (not (folder / "engines.json").exists() or bool(whole(folder)))

    with watching(look) as seen:
        outcome = export(folder)
    assert outcome.exit_code == 3, outcome.output
    assert states(outcome.output) == {
        "NVIDIA-H100-80GB-HBM3": "built", "NVIDIA-A10G": "failed",
        "NVIDIA-RTX-6000-Ada-Generation": "failed", "Quadro-RTX-6000": "failed",
    }  # fmt: skip
    for name in ("NVIDIA-A10G", "Quadro-RTX-6000"):
        assert re.search(rf"failed  {name}_\S+: its process died", outcome.output)
    assert re.search(r"failed  NVIDIA-RTX\S+: RuntimeError: the builder is out of order\n",
                     outcome.output)  # fmt: skip
    assert "the same command builds what is missing" in outcome.output
    assert whole(folder) == {H100}
    assert all(seen)
    outcome = export(folder)
    assert outcome.exit_code == 0, outcome.output
    assert sorted(states(outcome.output).values()) == ["built", "built", "built", "kept"]
    assert whole(folder) == {H100, A10G, ADA, QUADRO}
    assert temporary(folder) == []


@pytest.mark.long
def test_nothing_built_is_a_failure_and_leaves_the_old_set(cluster, export, tmp_path):
    mark = tmp_path / "raise"
    cluster.add(kind="H100", **having(H100, build=f"raise:{mark}"))
    folder = tmp_path / "engines"
    assert export(folder).exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    mark.touch()
    outcome = export(folder, "--workspace", "64")
    assert outcome.exit_code == 1
    assert states(outcome.output) == {"NVIDIA-H100-80GB-HBM3": "failed"}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.long
def test_a_full_disk_leaves_the_old_plan(cluster, export, tmp_path):
    mark = tmp_path / "full"
    cluster.add(kind="H100", **having(H100, check=f"full:{mark}"))
    cluster.add(kind="A10G", **having(A10G))
    folder = tmp_path / "engines"
    assert export(folder).exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.glob("*H100*.plan*")}
    mark.touch()
    outcome = export(folder, "--workspace", "64")
    assert outcome.exit_code == 3
    assert re.search(r"failed  NVIDIA-H100\S+: File too large", outcome.output)
    assert {path.name: path.read_bytes() for path in folder.glob("*H100*.plan*")} == before
    assert whole(folder) == {A10G}
    assert temporary(folder) == []


@pytest.mark.long
@pytest.mark.parametrize("spare", [False, True])
def test_a_node_that_is_lost_in_mid_build(cluster, export, tmp_path, spare):
    """The build goes to another node with such a GPU; without one it fails alone."""
    marks = {}
    for number in range(1 + spare):
        mark = tmp_path / f"hang{number}"
        mark.touch()
        marks[mark] = cluster.add(kind="A10G", **having(A10G, build=f"hang:{mark}"))
    cluster.add(kind="H100", **having(H100))

    def lose():
        while not (hanging := [mark for mark in marks if mark.read_text(encoding="utf-8")]):
            time.sleep(0.05)
        cluster.remove(marks[hanging[0]])
        for mark in marks:
            mark.unlink()

    thread = threading.Thread(target=lose)
    thread.start()
    outcome = export(tmp_path / "engines")
    thread.join()
    assert outcome.exit_code == (0 if spare else 3), outcome.output
    if spare:
        assert "its node was lost; it is tried on another one" in outcome.output
    else:
        assert re.search(r"failed  NVIDIA-A10G_\S+: its node was lost or is about", outcome.output)
    assert whole(tmp_path / "engines") == ({H100, A10G} if spare else {H100})


def start(cluster, graph, folder):
    arguments = ["export", graph, folder, "--gpu-type", "all", "--address", cluster.address]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": paths}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(mark):
    while not mark.read_text(encoding="utf-8"):
        time.sleep(0.05)
    return int(mark.read_text(encoding="utf-8"))


@pytest.mark.parametrize("how", [signal.SIGINT, long_case(signal.SIGTERM)])
def test_a_stopped_export_ends_its_builds_and_leaves_no_half_file(cluster, graph, tmp_path, how):
    mark = tmp_path / "hang"
    mark.touch()
    cluster.add(kind="H100", **having(H100, build=f"hang:{mark}"))
    folder = tmp_path / "engines"
    process = start(cluster, graph, folder)
    builder = wait_for(mark)
    process.send_signal(how)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "stopped"
    assert os.listdir(folder) == []
    while Path(f"/proc/{builder}").exists():  # the test's timeout ends this
        time.sleep(0.1)


@pytest.mark.long
def test_two_exports_into_one_folder_end_with_a_whole_set(cluster, graph, tmp_path):
    """Both build both plans at the same time, each on a GPU of its own."""
    for kind, gpu in (("H100", H100), ("A10G", A10G)):
        cluster.add(kind=kind, gpus=2, **having(gpu, gpu))
    folder = tmp_path / "engines"

    def look():
        return (folder / "engines.json").exists() and len(read_engine_set(str(folder)).engines)

    with watching(look) as seen:
        both = [start(cluster, graph, folder) for _ in range(2)]
        outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert whole(folder) == {H100, A10G}
    assert temporary(folder) == []
    assert set(seen) == {False, 2}
