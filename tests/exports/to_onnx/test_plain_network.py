"""The network of the GPU tests: what numpy computes is what its ONNX file gives."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from plain_network import SIZE, PlainNetwork, pictures

from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.cli.program import cli
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(("int8", "tolerance"), [(False, 1e-5), (True, 0.1)])
def test_numpy_computes_it(tmp_path, rotated, int8, tolerance):
    network = PlainNetwork(rotated)
    network.save(tmp_path / "m.onnx", int8=int8)
    engine = OnnxRuntimeEngine(str(tmp_path / "m.onnx"), network.about.post, launch_batch=3)
    found, expected = engine.raw(pictures(), SIZE), network.raw(pictures())
    for one, two in zip(found, expected, strict=True):
        assert one.shape == two.shape
        assert np.abs(one - two).max() < tolerance
    assert max(np.abs(one - two).max() for one, two in zip(found, expected, strict=True)) > 0
    for one in engine.detect(pictures(), SIZE):
        assert one.boxes.shape == (len(one), network.about.box_values)
        assert 0 < len(one) <= 20
        assert one.scores[0] > 0.3


@pytest.mark.parametrize(
    ("precision", "convolutions"),
    [("fp32", "11 FP32"), ("fp16", "11 FP16"), ("int8", "10 INT8, 1 FP16")],
)
def test_plans_are_built_of_it(rtx, tmp_path, precision, convolutions):
    PlainNetwork(True).save(tmp_path / "m.onnx", int8=precision == "int8")
    flags = ["--full-precision"] * (precision == "fp32")
    arguments = ["export", tmp_path / "m.onnx", tmp_path / "m.plan", *flags,
                 "--compute-capability", "8.9"]  # fmt: skip
    outcome = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert outcome.exit_code == 0, outcome.output
    about = read_sidecar(str(tmp_path / "m.plan"))
    assert (about.model.precision, about.model.rotated) == (precision, True)
    assert outcome.stdout.splitlines()[2] == f"11 convolutions: {convolutions}"
