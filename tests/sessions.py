"""The one Ray cluster of a process: a head that tests share, and simulated nodes that join it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

# Workers must find the engines that the tests bring, and this checkout before an installed one.
_TESTS = Path(__file__).parent
_MODULES = os.pathsep.join([str(_TESTS), str(_TESTS.parent)])


# Room for four CPU workers, whatever the machine has.
_HEAD = {
    "num_cpus": 4,
    "num_gpus": 0,
    "include_dashboard": False,
    "object_store_memory": 256 << 20,
}


@contextlib.contextmanager
def cluster_head():
    """The head of this process's only cluster, without GPUs.

    Ray cannot come back to a cluster from another one: actors would be taken for forgotten ones.
    """
    import ray

    head = _start_head(attempts=3)
    yield head
    ray.shutdown()
    head.shutdown()


def _start_head(attempts: int):
    """Ray gives a node 30 seconds, which can be too little where much else is at work."""
    from ray.cluster_utils import Cluster

    try:
        with _environment():
            return Cluster(initialize_head=True, head_node_args=_HEAD)
    except (Exception, SystemExit):  # Ray raises nothing narrower
        if attempts == 1:
            raise
    return _start_head(attempts - 1)


@contextlib.contextmanager
def _environment():
    """What nodes hand down to their workers."""
    with pytest.MonkeyPatch.context() as patch:
        # Workers are nice by default, and starve where anything else is at work.
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("PYTHONPATH", _MODULES)
        yield


def start_ray(head):
    """Connects to the head, and stays; once is enough."""
    import ray

    if not ray.is_initialized():
        ray.init(head.address, log_to_driver=False, logging_level=logging.ERROR)


@contextlib.contextmanager
def simulated_cluster(head):
    """Nodes with logical GPUs on this machine, which join the head and leave it at the end.

    The driver is not connected at first. Yields the cluster's address, `add`, which starts a node,
    `remove`, which kills one, and `drain`, which announces its end; an idle one ends at once.
    """
    import ray

    ray.shutdown()

    def add(gpus=1, kind=None, **variables):
        """A node with variables of its own; `kind` is Ray's type, as label and resource."""
        typed = {}
        if kind is not None:
            typed["labels"] = {"ray.io/accelerator-type": kind}
            typed["resources"] = {f"accelerator_type:{kind}": 1}
        with _environment():
            return head.add_node(
                num_cpus=1,
                num_gpus=gpus,
                object_store_memory=80 << 20,
                env_vars=variables or None,
                **typed,
            )

    def remove(node):
        head.remove_node(node, allow_graceful=False)

    def drain(node, seconds):
        """Announce a node's end, as a cloud does for machines that it takes back."""
        from ray._raylet import GcsClient
        from ray.core.generated import autoscaler_pb2

        deadline, why = int((time.time() + seconds) * 1000), "spot"
        preempted = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION
        drained = GcsClient(head.address).drain_node(node.node_id, preempted, why, deadline)
        assert drained[0], drained

    yield SimpleNamespace(add=add, remove=remove, drain=drain, address=head.address)
    ray.shutdown()
    for node in list(head.worker_nodes):
        head.remove_node(node)
    head.wait_for_nodes()
