"""`infer --batch auto` on a GPU: what is measured fits, and gives the bytes of that `--batch`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gpu_helpers import jpeg
from synthetic import Quiet

from odtk_ray.config import InferConfig
from odtk_ray.dispatch.launch_survey import choose_launch
from odtk_ray.run.pipeline import infer
from odtk_ray.shards.run_folder import RunFolder

pytestmark = pytest.mark.gpu

IMAGES = 64  # full launches of up to 64


@pytest.mark.parametrize("local", [True, pytest.param(False, marks=pytest.mark.cluster)])
def test_a_gpu_measures_launches(checkpoint, tmp_path, local):
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(IMAGES):
        (images / f"{seed:02d}.jpg").write_bytes(jpeg(seed, 640, 480))
    found = {}
    config = InferConfig(
        str(checkpoint), str(images), resize=160, max_size=256, workers=1, local=local,
        threads_per_worker=4, keep_run=True, batch="auto",
    )  # fmt: skip
    for name in ("auto", "given"):
        (tmp_path / name).mkdir()
        output = tmp_path / name / "out.json"
        infer(replace(config, output=(str(output),)), Quiet())
        plan = RunFolder.reopen(f"{output}.run").plan
        found[name] = output.read_bytes()
        if name == "auto":
            (rates,) = plan.measured.rates.values()
            sizes = [rate.launch for rate in rates]
            assert sizes == [1, 2, 4, 8, 16, 32, 64][: len(sizes)]
            assert len(sizes) > 1
            assert all(0 < rate.memory < 0.9 for rate in rates)
            assert plan.settings.launch_batch == choose_launch([rates], dict.fromkeys(sizes, 1.0))
            config = replace(config, batch=plan.settings.launch_batch)
    assert found["auto"] == found["given"]
