"""Tests that need a GPU: `pytest -m gpu`. Without one they are skipped, each with the reason.

test_gpu_plan_check.py needs no torch, so nothing here imports it at once.
"""

from __future__ import annotations

import pytest
from gpu_helpers import POST, PREP, write_spread


@pytest.fixture(scope="session", autouse=True)
def _gpu():
    import cuda_ops

    try:
        cuda_ops.Device().close()
    except cuda_ops.CudaUnavailable as error:
        pytest.skip(f"no CUDA kernels: {error}")


@pytest.fixture(scope="session")
def codec(_gpu):
    return pytest.importorskip("nvidia.nvimgcodec")


@pytest.fixture(scope="session")
def spread(checkpoint, tmp_path_factory):
    """A checkpoint whose detections can be matched; see `write_spread`."""
    path = tmp_path_factory.mktemp("spread") / "spread.pth"
    write_spread(path, checkpoint)
    return path


@pytest.fixture
def make_engine(codec, checkpoint):
    """Makes engines of the tiny checkpoint; keyword arguments replace the defaults."""
    from odtk_ray.engines.cuda import CudaEngine
    from odtk_ray.model.checkpoint import load_checkpoint

    engines = []

    def make(path=checkpoint, prep=PREP, **options):
        settings = {"launch_batch": 4, "threads": 2} | options
        engines.append(CudaEngine(load_checkpoint(path), prep, POST, **settings))
        return engines[-1]

    yield make
    for engine in reversed(engines):
        engine.close()
