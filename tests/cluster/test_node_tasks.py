"""Calls on nodes: what becomes of each, of those whose node is gone, and of all when stopped."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from machines_for_tests import answer
from sessions import simulated_cluster

from odtk_ray.cluster import node_tasks
from odtk_ray.cluster.await_nodes import find_nodes
from odtk_ray.cluster.gpu_nodes import NODE_LABEL, gpu_nodes
from odtk_ray.cluster.node_tasks import Call, run_on_nodes
from odtk_ray.engines.local_gpus import inspect_machine
from odtk_ray.errors import OdtkError, UsageError

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(head):
    import ray

    with simulated_cluster(head) as made:
        made.add(gpus=1)
        made.add(gpus=2)
        made.lost = made.add(gpus=3)
        ray.init(address=made.address, log_to_driver=False)
        yield made


@pytest.fixture(scope="module")
def nodes(cluster):
    """Ids of the nodes, with one GPU, with two and with three."""
    found = gpu_nodes()
    return sorted(found, key=lambda i: found[i]["Resources"]["GPU"])


def test_each_call_runs_on_its_node_with_its_gpus(nodes, quiet):
    one, two, _ = nodes
    calls = [
        Call("first", (one,), ("where",)),
        Call("second", (two,), ("where",), gpus=2),
        Call("either", (one, two), ("where",)),
        Call("anywhere", (), ("where",)),
    ]
    found = run_on_nodes(answer, calls, "asking", quiet)
    assert found["first"] == (one, 1)
    assert found["second"] == (two, 2)
    assert found["either"][0] in (one, two)
    assert found["anywhere"][0] in nodes
    assert run_on_nodes(answer, [], "asking", quiet) == {}


def test_failures_are_those_of_their_call_alone(nodes, quiet):
    kinds = ("ours", "usage", "disk", "bug", "killed", "where")
    calls = [Call(kind, (nodes[1],), (kind,)) for kind in kinds]
    found = run_on_nodes(answer, calls, "asking", quiet)
    assert found.pop("where") == (nodes[1], 1)
    assert all(isinstance(failure, OdtkError) for failure in found.values())
    assert isinstance(found["usage"], UsageError)
    assert {kind: str(failure) for kind, failure in found.items()} == {
        "ours": "no luck: today\n  hint: tomorrow",
        "usage": "cannot be",
        "disk": "No space left on device (/engines/x)",
        "bug": "ZeroDivisionError: division by zero",
        "killed": "its process died: killed, or crashed in a library",
    }


def test_failures_leave_no_reference_of_ray_to_the_collector(nodes, quiet):
    """Ray ends a process in which another thread collects one when Ray itself has ended."""
    import ray

    calls = [Call(kind, (nodes[1],), (kind,)) for kind in ("ours", "bug", "killed")]
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        run_on_nodes(answer, calls, "asking", quiet)
        gc.collect()
        held = [r for found in gc.garbage for r in gc.get_referents(found)]
        assert not [r for r in held if isinstance(r, ray.ObjectRef)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


# A driver with a call that does not end, and much that it needs.
_DRIVER = """
import sys
import ray
from machines_for_tests import answer
from synthetic import Quiet
from odtk_ray.cluster.node_tasks import Call, run_on_nodes
address, node, mark = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
call = Call("one", (node,), ("deaf", mark), content=bytes(45_000_000))
run_on_nodes(answer, [call], "waiting", Quiet())
"""


_PATHS = os.pathsep.join(map(str, Path(__file__).parents[1:3]))  # the tests, and the checkout


@pytest.mark.long
def test_nodes_keep_nothing_of_calls_whose_driver_was_killed(cluster, nodes, quiet, tmp_path):
    """A node of these tests has no room for two such contents."""
    for number in range(2):
        mark = tmp_path / f"pid{number}"
        arguments = [sys.executable, "-c", _DRIVER, cluster.address, nodes[0], str(mark)]
        with subprocess.Popen(arguments, env=os.environ | {"PYTHONPATH": _PATHS}) as driver:
            while not (
                mark.exists() and mark.read_text(encoding="utf-8")
            ):  # the test's timeout ends this
                assert driver.poll() is None
                time.sleep(0.1)
            driver.kill()
    mark = tmp_path / "pid"
    call = Call("one", nodes[:1], ("failing", str(mark)), content=bytes(45_000_000))
    found = run_on_nodes(answer, [call], "failing", quiet)
    assert str(found["one"]) == "45000000 bytes are too many"


def test_failed_calls_end_although_much_was_sent(nodes, quiet, tmp_path):
    mark = tmp_path / "pid"
    call = Call("one", nodes[:1], ("failing", str(mark)), content=bytes(1_000_000))
    found = run_on_nodes(answer, [call], "failing", quiet)
    assert str(found["one"]) == "1000000 bytes are too many"
    while os.path.exists(
        f"/proc/{mark.read_text(encoding='utf-8')}"
    ):  # the test's timeout ends this
        time.sleep(0.1)


class Impatient(Exception):
    pass


def test_calls_end_with_the_driver_and_may_clean_up(nodes, tmp_path, quiet, monkeypatch):
    """One call notices that it is stopped, the other one has to be killed."""
    monkeypatch.setattr(node_tasks, "_SPEAK_INTERVAL", 0.0)
    monkeypatch.setattr(node_tasks, "_GRACE", 10.0)  # enough where much else is at work
    marks = [tmp_path / name for name in ("tidy", "deaf")]
    calls = [Call(mark.name, (nodes[1],), (mark.name, str(mark))) for mark in marks]

    def stop(text):
        assert text.endswith("asking, or waiting for a GPU: tidy, deaf")
        if all(mark.exists() and mark.read_text(encoding="utf-8") for mark in marks):
            raise Impatient

    monkeypatch.setattr(quiet, "note", stop)
    with pytest.raises(Impatient):
        run_on_nodes(answer, calls, "asking", quiet)
    deaf = int(marks[1].read_text(encoding="utf-8"))
    assert not marks[0].exists()
    while os.path.exists(f"/proc/{deaf}"):  # the test's timeout ends this
        time.sleep(0.1)


def test_calls_for_nodes_that_are_gone_are_given_up(cluster, nodes, quiet):
    """One was there, the other one has never been; other labels would be waited for for ever."""
    cluster.remove(cluster.lost)
    never = "0" * len(nodes[0])
    places = {"was": nodes[2:], "never": (never,), "both": (nodes[2], never), "one": nodes[1:]}
    calls = [Call(name, tuple(place), ("where",)) for name, place in places.items()]
    found = run_on_nodes(answer, calls, "asking", quiet)
    assert found.pop("one") == (nodes[1], 1)
    lost = {name: str(failure) for name, failure in found.items()}
    text = "its node was lost or is about to end: no other one has such a GPU"
    assert lost == dict.fromkeys(("was", "never", "both"), text)


@pytest.fixture
def pair(cluster):
    """Two nodes with a GPU each, by their ids."""
    made = [cluster.add(gpus=1) for _ in range(2)]
    return {node.node_id: node for node in made}


@pytest.mark.parametrize("drained", [False, True])
def test_a_call_whose_node_is_lost_is_made_on_another_one(cluster, pair, quiet, tmp_path, drained):
    """A machine that a cloud takes back may end its processes before Ray."""
    mark = tmp_path / "pid"
    seen = []

    def lose():
        while not (mark.exists() and mark.read_text(encoding="utf-8")):
            time.sleep(0.05)
        pid, node = mark.read_text(encoding="utf-8").split()
        seen.append(node)
        if drained:
            cluster.drain(pair[node], 600)
            os.kill(int(pid), signal.SIGKILL)
        else:
            cluster.remove(pair[node])

    thread = threading.Thread(target=lose)
    thread.start()
    found = run_on_nodes(answer, [Call("one", tuple(pair), ("once", str(mark)))], "asking", quiet)
    thread.join()
    assert found == {"one": next(iter(pair.keys() - seen))}
    assert quiet.warnings == ["one: its node was lost; it is tried on another one"]


def test_a_node_that_is_about_to_end_gets_no_call(cluster, pair, quiet, tmp_path):
    import ray

    leaving, staying = pair
    # It has work until then: an idle one ends at once.
    busy = ray.remote(num_cpus=1)(answer).options(label_selector={NODE_LABEL: leaving})
    mark = tmp_path / "pid"
    work = busy.remote("tidy", str(mark))
    while not mark.exists():  # the test's timeout ends this
        time.sleep(0.05)
    cluster.drain(pair[leaving], 600)
    calls = [Call("either", tuple(pair), ("where",)), Call("none", (leaving,), ("where",))]
    found = run_on_nodes(answer, calls, "asking", quiet)
    assert found["either"] == (staying, 1)
    assert "is about to end" in str(found["none"])
    assert mark.exists()
    ids = [node.id for node in find_nodes([], None, inspect_machine, quiet)]
    assert staying in ids
    assert leaving not in ids
    ray.cancel(work)
