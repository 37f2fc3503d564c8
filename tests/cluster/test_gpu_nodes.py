"""Finding the GPUs of a cluster: names and types, nodes that do not answer or are awaited."""

from __future__ import annotations

import pytest
from machines_for_tests import A10G, ADA, H100, QUADRO, having, silent, simulated
from sessions import simulated_cluster
from synthetic import Quiet

from odtk_ray.cluster import gpu_nodes
from odtk_ray.cluster.await_nodes import await_nodes, find_nodes
from odtk_ray.cluster.gpu_nodes import GpuNode, ray_type
from odtk_ray.engines.local_gpus import Gpu, Machine, inspect_machine
from odtk_ray.errors import UsageError

L4 = Gpu("NVIDIA L4", "8.9")


def node(kind, *found):
    return GpuNode("id", "10.0.0.1", kind, len(found), Machine(found, "tensorrt 11.4.0"))


@pytest.mark.parametrize(
    ("here", "types", "expected"),
    [
        (node("H100", H100), [], ()),
        (node("H100", H100), ["H100"], (H100,)),
        (node("H100", H100, H100), ["h100"], (H100,)),
        (node("H100", H100), ["NVIDIA H100 80GB HBM3"], (H100,)),
        (node("H100", H100), ["NVIDIA-H100-80GB-HBM3"], (H100,)),
        (node("H100", H100), ["H10", "NVIDIA H100", "9.0", ""], ()),
        (node("H100", H100), ["A10G", "all"], (H100,)),
        (node("", A10G), ["NVIDIA A10G"], (A10G,)),
        (node("", A10G), ["A10G", ""], ()),
        (node("RTX-6000", QUADRO, ADA, QUADRO), ["RTX-6000"], (QUADRO, ADA)),
        (node("RTX-6000", QUADRO, ADA), [ADA.name], (ADA,)),
        (node("H100"), ["H100"], ()),  # it has no driver
    ],
)
def test_a_type_is_rays_or_a_name(here, types, expected):
    assert here.wanted(types) == expected


@pytest.mark.parametrize(
    ("labels", "resources", "expected"),
    [
        ({}, {"GPU": 1.0}, ""),
        ({"ray.io/accelerator-type": "A10G"}, {"GPU": 1.0}, "A10G"),
        ({}, {"GPU": 1.0, "accelerator_type:T4": 1.0}, "T4"),
        ({"ray.io/accelerator-type": "L4"}, {"GPU": 1.0, "accelerator_type:T4": 1.0}, "L4"),
    ],
)
def test_rays_type_is_a_label_or_a_resource(labels, resources, expected):
    assert ray_type({"Labels": labels, "Resources": resources}) == expected


def test_a_machine_without_a_driver_has_no_gpus():
    pytest.importorskip("tensorrt_rtx")
    try:
        import ctypes

        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert inspect_machine().gpus == ()
        assert inspect_machine(H100).tensorrt.startswith("tensorrt")


@pytest.fixture(scope="module")
def fleet(head):
    import ray

    with simulated_cluster(head) as made:
        made.add(kind="H100", **having(H100, tensorrt="tensorrt 11.4.0"))
        made.add(kind="A10G", gpus=2, **having(A10G, A10G, tensorrt="tensorrt 11.4.1"))
        made.add(**having(ADA, tensorrt=""))
        ray.init(address=made.address, log_to_driver=False)
        yield made


@pytest.mark.cluster
def test_every_node_says_what_it_has(fleet, quiet):
    found = {n.machine.gpus: n for n in find_nodes(["H100", ADA.name], None, simulated, quiet)}
    assert found.keys() == {(H100,), (A10G, A10G), (ADA,)}
    assert [found[key].count for key in found] == [len(key) for key in found]
    assert found[H100,].machine.tensorrt == "tensorrt 11.4.0"
    assert found[A10G, A10G].machine.tensorrt == "tensorrt 11.4.1"
    assert (found[ADA,].kind, found[ADA,].machine.trouble) == ("", "it was not installed")
    assert quiet.warnings == []


@pytest.mark.cluster
def test_a_type_that_is_not_there_is_refused_with_those_that_are(fleet, quiet):
    with pytest.raises(UsageError) as error:
        find_nodes(["A10G", "B200"], None, simulated, quiet)
    assert error.value.what == "no node has a GPU of type B200"
    assert error.value.why == (
        "there are A10G: NVIDIA A10G (8.6); H100: NVIDIA H100 80GB HBM3 (9.0); "
        "no type: NVIDIA RTX 6000 Ada Generation (8.9)"
    )
    assert "--wait-for-nodes" in error.value.hint


@pytest.mark.long
@pytest.mark.cluster
def test_nodes_that_do_not_answer_are_left_out(fleet, quiet, monkeypatch):
    monkeypatch.setattr(gpu_nodes, "_SURVEY_SECONDS", 30.0)
    found = find_nodes(["H100"], None, silent, quiet)
    assert [n.machine.gpus for n in found] == [(H100,)]
    assert sorted("CUDA error 999" in warning for warning in quiet.warnings) == [False, True]
    assert all("does not report its GPUs" in warning for warning in quiet.warnings)


class Starting(Quiet):
    """Starts a node when it is first told that one is waited for, as an autoscaler would."""

    def __init__(self, start):
        super().__init__()
        self._start = start

    def note(self, text, hint=""):
        super().note(text, hint)
        if len(self.notes) == 1:
            self._start()


@pytest.mark.cluster
def test_a_node_is_waited_for_and_not_in_vain(fleet, quiet):
    with pytest.raises(UsageError, match="no node has a GPU of type RTX-6000"):
        find_nodes(["RTX-6000"], 2.0, simulated, quiet)
    report = Starting(lambda: fleet.add(kind="RTX-6000", **having(QUADRO)))
    found = find_nodes(["RTX-6000", "H100"], 300.0, simulated, report)
    assert (QUADRO,) in [n.machine.gpus for n in found]
    assert report.notes == ["waiting for a node with RTX-6000 (300 s at most)"]
    import ray

    # What asked for the node gives its GPU back; the test's timeout ends this otherwise.
    task = ray.remote(num_gpus=1, num_cpus=0)(gpu_nodes.node_id)
    there = task.options(label_selector={"ray.io/accelerator-type": "RTX-6000"}).remote()
    assert ray.get(there) == next(n.id for n in found if n.kind == "RTX-6000")


@pytest.mark.cluster
def test_several_types_are_asked_for_at_once_and_what_comes_is_taken(fleet):
    report = Starting(lambda: fleet.add(kind="L4", **having(L4)))
    found = await_nodes(["T4", "H100", "L4"], 0.5, simulated, report)
    assert report.notes == [
        f"waiting for a node with {kind} (0 s at most)" for kind in ("T4", "L4")
    ]
    assert (L4,) in [n.machine.gpus for n in found.nodes]
    assert found.missing == ["T4"]
    assert "`ray status` says more" in found.advice
