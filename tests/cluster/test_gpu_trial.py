"""What all GPUs of a mixed fleet can do, and that each kind of them is asked."""

from __future__ import annotations

import pytest
from machines_for_tests import limited
from sessions import simulated_cluster
from synthetic import run_settings

from odtk_ray.cluster.gpu_nodes import gpu_nodes
from odtk_ray.cluster.gpu_trial import GpuAbilities, common_abilities, try_gpus
from odtk_ray.errors import OdtkError
from odtk_ray.settings import PILLOW

HARD, SOFT, OLD = "nvimgcodec-0.9.0-hardware", "nvimgcodec-0.9.0-hybrid", "nvimgcodec-0.8.0-hybrid"


def able(*decoders, batch=8, kernels=True, remarks=()):
    return GpuAbilities(kernels, decoders, remarks, batch)


@pytest.mark.parametrize(
    ("found", "decoder", "batch", "said"),
    [
        ([able(HARD, SOFT)], HARD, 8, ""),
        ([able(HARD, SOFT)] * 2, HARD, 8, ""),
        ([able(HARD, SOFT), able(SOFT, batch=4)], SOFT, 4, f"decoded by {SOFT}"),
        ([able(SOFT, batch=2), able(HARD, SOFT)], SOFT, 2, f"decoded by {SOFT}"),
        ([able(HARD), able(SOFT)], PILLOW, 8, "decoded by the CPU"),
        ([able(SOFT), able(OLD)], PILLOW, 8, "decoded by the CPU"),
        ([able(), able()], PILLOW, 8, ""),
    ],
)
def test_the_best_that_all_can_do_is_taken(found, decoder, batch, said):
    both = common_abilities(found)
    assert (both.decoder, both.launch_batch) == (decoder, batch)
    assert both.kernels
    assert [said in remark for remark in both.remarks] == [True] * bool(said)


def test_remarks_are_said_once_and_kernels_are_needed_everywhere():
    without = able(kernels=False, remarks=("no kernels here",))
    both = common_abilities([able(remarks=("the CPU decodes JPEGs",)), without, without])
    assert not both.kernels
    assert both.remarks == ("the CPU decodes JPEGs", "no kernels here")


@pytest.fixture(scope="module")
def places(head):
    """Two nodes: one's GPU has room for five pictures, the other's for a hundred."""
    import ray

    with simulated_cluster(head) as made:
        made.add(TEST_ROOM="5")
        made.add(TEST_ROOM="100")
        ray.init(address=made.address, log_to_driver=False)
        yield [(node,) for node in gpu_nodes()]


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("wanted", "least", "batch"), [(4, 1, 4), (5, 1, 5), (8, 1, 4), (24, 1, 3), (16, 5, 5)]
)
def test_the_smallest_gpu_decides_about_the_launch(places, quiet, wanted, least, batch):
    found = try_gpus(limited, run_settings(launch_batch=wanted), places, quiet, least)
    assert found.launch_batch == batch
    said = f"{wanted} images per launch do not fit in GPU memory: using {batch}"
    assert (said in found.remarks) == (batch != wanted)
    assert sorted(r for r in found.remarks if r.startswith("room")) == ["room 100", "room 5"]


@pytest.mark.cluster
def test_a_launch_that_is_too_large_for_one_kind_is_refused(places, quiet):
    with pytest.raises(OdtkError, match="not even 6 images"):
        try_gpus(limited, run_settings(launch_batch=16), places, quiet, 6)
