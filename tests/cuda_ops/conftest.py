"""The GPU that the tests marked `gpu` run on; elsewhere they are skipped."""

import os

import numpy as np
import pytest

import cuda_ops


@pytest.fixture(scope="session")
def device():
    try:
        device = cuda_ops.Device()
    except cuda_ops.CudaUnavailable as reason:
        pytest.skip(str(reason))
    yield device
    device.close()


@pytest.fixture
def rng():
    """Fresh numbers for every test; a failure shows their seed."""
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}")
    return np.random.default_rng(seed)
