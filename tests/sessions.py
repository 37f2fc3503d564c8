"""The Ray that tests share, and clusters of simulated nodes."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

# Workers must find the engines that the tests bring, and this checkout before an installed one.
_TESTS = Path(__file__).parent
_MODULES = os.pathsep.join([str(_TESTS), str(_TESTS.parent)])


def start_ray():
    """A Ray of this process, with room for four workers, whatever the machine; once is enough."""
    import ray

    if ray.is_initialized():
        return
    # Workers are nice by default, and starve where anything else is at work.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so it is spelled
    os.environ["PYTHONPATH"] = _MODULES
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=256 << 20,
    )


@contextlib.contextmanager
def cluster_head():
    """The head of a cluster without GPUs; the shared Ray ends, and starts again when needed."""
    import ray
    from ray.cluster_utils import Cluster

    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("PYTHONPATH", _MODULES)
        head = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "num_gpus": 0, "include_dashboard": False},
        )
    yield head
    head.shutdown()


@contextlib.contextmanager
def simulated_cluster(head):
    """Nodes with logical GPUs on this machine, which join `head` and leave it at the end.

    Yields the cluster's address, `add`, which starts a node, and `remove`, which kills one.
    """
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("PYTHONPATH", _MODULES)

        def add(gpus=1, kind=None, **variables):
            """A node with variables of its own; `kind` is Ray's type, as label and resource."""
            typed = {}
            if kind is not None:
                typed["labels"] = {"ray.io/accelerator-type": kind}
                typed["resources"] = {f"accelerator_type:{kind}": 1}
            return head.add_node(
                num_cpus=1,
                num_gpus=gpus,
                object_store_memory=80 << 20,
                env_vars=variables or None,
                **typed,
            )

        def remove(node):
            head.remove_node(node, allow_graceful=False)

        yield SimpleNamespace(add=add, remove=remove, address=head.address)
        ray.shutdown()
        for node in list(head.worker_nodes):
            head.remove_node(node)
        head.wait_for_nodes()
