"""How a worker starts on a GPU: what it imports, and what it says of a GPU that others fill.

Each worker is a process of its own, as on Ray: memory and imports of the tests do not count.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu

TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}

# A worker with a checkpoint, which tries its GPU with so many pictures in a launch, is prepared,
# and says how that went, and which of the packages it has imported that a run does not need.
WORKER = """
import os
import sys
from dataclasses import replace
from odtk_ray.engines.loader import EngineLoader, FullGpu, engine_module
from odtk_ray.settings import Preprocessing
from odtk_ray.worker.gpu_trial import GpuTrial
from odtk_ray.worker.shard_work import WorkerSettings
from odtk_ray.worker.shard_worker import ShardWorker
from odtk_ray.worker.warm_up import Needs
from synthetic import run_settings
from odtk_ray.model.checkpoint import load_checkpoint

model, batch = sys.argv[1], int(sys.argv[2])
worker = ShardWorker("the worker", Needs(engine_module(model, gpus=True), gpu=True))
settings = run_settings(preprocessing=Preprocessing(), launch_batch=batch, device="gpu")
load = EngineLoader(model, load_checkpoint(model).sha256, "auto", settings, [(896, 1152)])
found = worker.try_gpu(GpuTrial(load))
if found is not None:
    settings = replace(settings, kernels=found.kernels, decoder=found.decoder)
load = replace(load, settings=settings, shapes=[(896, 1152), (1152, 896)])
try:
    worker.prepare(WorkerSettings("", "", "", None, "", settings), load)
except FullGpu as error:
    print("trial:", found)
    print(error)
else:
    print("trial:", found.launch_batch, found.kernels)
    print("ready")
unneeded = {"ray", "torch._dynamo", "torch._inductor", "torchvision", "onnx", "tensorrt_rtx"}
print("imported:", *sorted(unneeded & sys.modules.keys()))
sys.stdout.flush()
os._exit(0)  # as a driver ends a worker: a capture may have failed in it
"""

# A process that leaves so many GiB more than the tenth of the memory that must stay free.
HOLDER = """
import sys, torch
free, total = torch.cuda.mem_get_info()
held = free - total // 10 - int(float(sys.argv[1]) * 2**30)
content = torch.empty(max(held, 0), dtype=torch.uint8, device="cuda")
print("held" if held > 0 else "full", flush=True)
sys.stdin.read()
"""


def work(model, batch):
    """The lines of a worker."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(model), str(batch)],
        capture_output=True, text=True, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextlib.contextmanager
def filled(room):
    """Another process holds all of the GPU's memory but a tenth and `room` GiB."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(room)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as holder:  # fmt: skip
        said = holder.stdout.readline().strip()
        if said == "full":
            pytest.skip("something else fills the GPU")
        assert said == "held"
        yield
        holder.stdin.close()


def test_a_worker_imports_nothing_that_is_not_used(codec, checkpoint):
    """Each of them takes seconds, torch's compiler too."""
    assert work(checkpoint, 4) == ["trial: 4 True", "ready", "imported:"]


@pytest.mark.parametrize(
    ("room", "batch", "fits"),
    [
        (6, 256, False),  # the first layer of 256 pictures alone has 8 GB
        (6, 4, True),
        (0.1, 1, False),  # it may well be captured, but not a tenth of the memory is free then
    ],
)
def test_a_gpu_that_another_process_fills(codec, checkpoint, room, batch, fits):
    with filled(room):
        trial, prepared, _ = work(checkpoint, batch)
    if fits:
        assert (trial, prepared) == (f"trial: {batch} True", "ready")
    else:
        pictures = f"{batch} picture" + "s" * (batch > 1)
        assert trial == "trial: None"
        assert prepared == f"the worker has no memory for launches of {pictures}"
