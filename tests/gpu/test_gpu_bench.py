"""`odtk-ray bench` on a GPU: network and post-processing are told apart in a CUDA graph."""

from __future__ import annotations

import pytest
from synthetic import Quiet

from odtk_ray.bench.bench_models import bench_models
from odtk_ray.config import BenchConfig

pytestmark = pytest.mark.gpu


def test_stages_of_a_checkpoint(checkpoint):
    config = BenchConfig((str(checkpoint),), size=(256, 384), batch=(2,), launches=5)
    (row,) = bench_models(config, Quiet()).rows
    assert not row.error
    found = row.figures
    assert found.network_ms > 0
    assert found.postprocessing_ms > 0
    assert found.network_ms + found.postprocessing_ms < 2 * found.launch_ms
