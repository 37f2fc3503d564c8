"""GPUs of simulated nodes: what a node has stands in variables that the test gave it."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import time
from pathlib import Path

from odtk_ray.dispatch.agreement import Answer, GpuAbilities
from odtk_ray.engines.loader import FullGpu
from odtk_ray.engines.local_gpus import Gpu, Machine
from odtk_ray.engines.tensorrt_package import import_tensorrt, package_version
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.exports.check.check_export import Unavailable
from odtk_ray.shards.launch_rates import LaunchRate
from odtk_ray.worker.shard_worker import ShardWorker
from odtk_ray.worker.warm_up import Needs

H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0")
A10G = Gpu("NVIDIA A10G", "8.6")
QUADRO = Gpu("Quadro RTX 6000", "7.5")
ADA = Gpu("NVIDIA RTX 6000 Ada Generation", "8.9")


def having(*gpus, tensorrt=None, build=None, check=None):
    """The variables of a node: its GPUs, its TensorRT if not ours, what happens to its builds."""
    variables = {"TEST_GPUS": "|".join(f"{name};{capability}" for name, capability in gpus)}
    if tensorrt is not None:
        variables["TEST_TENSORRT"] = tensorrt
    if build is not None:
        variables["TEST_BUILD"] = build
    if check is not None:
        variables["TEST_CHECK"] = check
    return variables


def simulated(use=None):
    """In place of `inspect_machine`. Builds look for their GPU first: they can be hit here."""
    gpus = [Gpu(*text.split(";")) for text in filter(None, os.environ["TEST_GPUS"].split("|"))]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # set by Ray where it reserves some
    if visible is not None:
        gpus = [gpus[int(i)] for i in visible.split(",")]
    if use is not None:
        _strike(os.environ.get("TEST_BUILD", ""))
    tensorrt = os.environ.get("TEST_TENSORRT")
    if tensorrt is None:
        tensorrt = package_version(import_tensorrt())
    return Machine(tuple(gpus), tensorrt, "" if tensorrt else "it was not installed")


def unable(path, about, batch):
    """In place of `open_here`, when the plan is built and not yet in its set."""
    _strike(os.environ.get("TEST_CHECK", ""))
    raise Unavailable("its GPU is simulated")


def _strike(what):
    """Something happens to the build: once, while the file that is named is there."""
    kind, _, file = what.partition(":")
    if not os.path.exists(file):
        return
    if kind == "hang":
        Path(file).write_text(str(os.getpid()), encoding="utf-8")
        while os.path.exists(file):
            time.sleep(0.1)
        return
    os.unlink(file)
    if kind == "block":
        ctypes.CDLL(None).sleep(600)  # where no signal is seen
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "raise":
        raise RuntimeError("the builder is out of order\nand of memory")
    if kind == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))


def silent(use=None):
    """Nodes with two GPUs hang, and those with an Ada have a driver that fails."""
    found = simulated(use)
    while len(found.gpus) == 2:
        time.sleep(1)
    if found.gpus == (ADA,):
        raise RuntimeError("CUDA error 999\nand more")
    return found


class LimitedWorker(ShardWorker):
    """A worker whose GPU has room for so many pictures; things happen to it, once each."""

    def __init__(self):
        super().__init__(f"worker {os.environ['TEST_NAME']}", Needs())

    def try_for(self, trial):
        _strike(os.environ.get("TEST_TRIAL", ""))
        wait_for = os.environ.get("TEST_WAITS_FOR")
        while wait_for and not os.path.exists(wait_for):
            time.sleep(0.05)
        room, batch = int(os.environ["TEST_ROOM"]), trial.load.settings.launch_batch
        kind = str(trial.load.inspect().gpus[0]) if trial.tell_kinds else ""
        decoders = ("nvimgcodec-0.9.0-hybrid",)
        found = GpuAbilities(True, decoders, (f"room {room}",), batch) if batch <= room else None
        return Answer(self.name, kind, found)

    def measure_launch(self, load):
        """As fast as the launch is large, until the GPU is full."""
        _strike(os.environ.get("TEST_MEASURE", ""))
        batch = load.settings.launch_batch
        return (
            LaunchRate(batch, float(batch), 0.0) if batch <= int(os.environ["TEST_ROOM"]) else None
        )

    def prepare(self, settings, load):
        _strike(os.environ.get("TEST_PREPARE", ""))
        if load.settings.launch_batch > int(os.environ["TEST_ROOM"]):
            raise FullGpu(f"{self.name} has no memory for it")
        return super().prepare(settings, load)


def answer(kind, mark=None, content=None):
    """What a call on a node does."""
    import ray

    if kind == "failing":
        Path(mark).write_text(str(os.getpid()), encoding="utf-8")
        raise OdtkError(f"{len(content)} bytes are too many")
    if kind == "where":
        context = ray.get_runtime_context()
        return context.get_node_id(), len(context.get_accelerator_ids()["GPU"])
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "tidy":
        try:
            Path(mark).write_text("here", encoding="utf-8")
            while True:
                time.sleep(0.1)
        finally:
            os.unlink(mark)
    if kind == "deaf":
        Path(mark).write_text(str(os.getpid()), encoding="utf-8")
        ctypes.CDLL(None).sleep(600)
    if kind == "bug":
        return 1 / 0
    raise {
        "ours": OdtkError("no luck", "today", "tomorrow"),
        "usage": UsageError("cannot be"),
        "disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/engines/x"),
    }[kind]
