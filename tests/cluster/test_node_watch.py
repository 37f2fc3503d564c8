"""What is said of nodes, and what the end of an actor means."""

from __future__ import annotations

import pytest

from odtk_ray.cluster.failures import Loss, exit_reason, loss_of
from odtk_ray.cluster.node_selection import NodeSelection
from odtk_ray.cluster.node_watch import ClusterView, NodeWatch, is_called, node_name

GPU_7 = {
    "NodeID": "7" * 56,
    "NodeManagerAddress": "10.0.0.7",
    "NodeManagerHostname": "gpu-7",
    "Alive": True,
}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), False),
        (("gpu-7",), True),
        (("10.0.0.8", "10.0.0.7"), True),
        (("7" * 56,), True),
        (("gpu", "10.0.0", "7"), False),
    ],
)
def test_nodes_are_called_by_address_host_or_id(names, expected):
    assert is_called(GPU_7, names) == expected
    selection = NodeSelection(excluded=names)
    view = ClusterView({GPU_7["NodeID"]: GPU_7, "other": GPU_7 | {"NodeID": "other"}})
    others = {"other"} & selection.avoid(view)
    assert bool(selection.avoid(view) - others) == expected
    assert (GPU_7["NodeID"] in selection.selector().get("ray.io/node-id", "")) == expected


def test_draining_nodes_are_avoided_but_not_left_out():
    selection = NodeSelection()
    assert selection.avoid(ClusterView({"a": GPU_7}, frozenset("a"))) == {"a"}
    assert selection.left_out == set()


def test_nodes_are_named_by_address_and_host():
    assert node_name(GPU_7) == "node 10.0.0.7 (gpu-7)"
    assert node_name(GPU_7 | {"NodeManagerHostname": "10.0.0.7"}) == "node 10.0.0.7"
    assert node_name(None) == "a node"


@pytest.mark.cluster
def test_the_cluster_is_seen_from_beside_the_run(ray_session):
    import ray

    watch = NodeWatch()
    try:
        while (view := watch.latest()) is None:
            pass
    finally:
        watch.close()
    assert ray.get_runtime_context().get_node_id() in view.alive
    assert view.draining == frozenset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # as Ray 2.60 and 2.49 say it
        (
            "1 worker(s) were killed due to the node running low on memory. Memory on the node "
            "(IP: 10.0.0.7, ID: 59) was 12.38GB used / 23.54GB limit (0.525855)\nMore of it.",
            "node 10.0.0.7 is out of memory (12.38 of 23.54 GB are in use)",
        ),
        (
            "Task was killed due to the node running low on memory.\nMemory on the node (IP: "
            "10.0.0.7, ID: 59) where the task (actor ID: 1, name=A, pid=3, memory used=0.5GB) was "
            "running was 30.19GB / 31.14GB (0.97), which exceeds the threshold.\nMore of it.",
            "node 10.0.0.7 is out of memory (30.19 of 31.14 GB are in use)",
        ),
        ("It died.\nWorker exit detail: End of file. Some common causes include: (1) a", ""),
        ("", "OutOfMemoryError"),
    ],
)
def test_a_full_node_is_named_with_its_memory(text, expected):
    from ray.exceptions import OutOfMemoryError

    said = exit_reason(OutOfMemoryError(text))
    assert said == (expected or "Worker exit detail: End of file.")


def test_an_actor_that_does_not_answer_may_have_ended_for_any_reason():
    from ray.exceptions import ActorDiedError, ActorUnavailableError

    assert loss_of(ActorUnavailableError("away", None)) is Loss.UNKNOWN
    assert loss_of(ActorDiedError()) is Loss.CRASH
