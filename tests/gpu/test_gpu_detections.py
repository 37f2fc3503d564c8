"""Plans that end in detections, beside a plan with raw outputs of the same network in FP32."""

from __future__ import annotations

import ctypes

import pytest
from click.testing import CliRunner
from gpu_helpers import POST, agreement, jpeg

from odtk_ray.cli.program import cli
from odtk_ray.engines.tensorrt_package import PLUGIN
from odtk_ray.settings import Preprocessing

pytestmark = pytest.mark.gpu

SIZE = (160, 224)
FITTED = Preprocessing(fit=SIZE, resize=SIZE[0], max_size=SIZE[1], stride=32)


def found(checkpoint, path, *flags):
    """What a plan finds in eight pictures."""
    from odtk_ray.engines.tensorrt import TensorRTEngine

    arguments = ["export", checkpoint, path, "--size", *SIZE, "--full-precision",
                 "--dynamic-batch-opts", 1, 4, 4, *flags]  # fmt: skip
    outcome = CliRunner().invoke(cli, list(map(str, arguments)))
    assert outcome.exit_code == 0, outcome.output
    assert "not run here" not in outcome.stdout
    engine = TensorRTEngine(str(path), FITTED, POST, launch_batch=4, threads=2, jpeg=())
    results = []
    for start in (0, 4):
        files = [jpeg(start + seed, 320, 240) for seed in range(4)]
        outcomes = engine.launch([engine.read(data) for data in files], SIZE)()
        results += [outcome.found for outcome in outcomes]
    engine.close()
    return results


@pytest.mark.parametrize("kind", ["spread", "ranked_rotated"])
@pytest.mark.parametrize("flags", [["--with-postprocess"], ["--with-postprocess", "--plugin"]])
def test_they_find_what_the_kernels_behind_raw_outputs_find(request, tmp_path, kind, flags):
    pytest.importorskip("tensorrt")
    if "--plugin" in flags:
        try:
            ctypes.CDLL(PLUGIN)
        except OSError as error:
            pytest.skip(f"{error}: cmake builds it, LD_LIBRARY_PATH names its folder")
    checkpoint = request.getfixturevalue(kind)
    expected = found(checkpoint, tmp_path / "raw.plan")
    ending = found(checkpoint, tmp_path / "ending.plan", *flags)
    total, share = agreement(ending, expected, least=0, iou=0.9, margin=5e-3)
    assert total > 100
    assert share >= 0.99
