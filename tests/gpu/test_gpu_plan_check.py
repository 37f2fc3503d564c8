"""Plans of ONNX files built, checked and run by the TensorRT of this machine; torch is not needed.

The network is one that numpy computes. With torch or ONNX Runtime at hand the export compares with
that as well.
"""

from __future__ import annotations

import importlib.util
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from plain_network import SIZE, PlainNetwork, pictures
from synthetic import picture

from odtk_ray.artifacts.sidecar import read_sidecar
from odtk_ray.cli.program import cli
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.exports.check.layer_precisions import read_layers
from odtk_ray.exports.check.runners import open_tensorrt_plan

pytestmark = pytest.mark.gpu

KINDS = [
    (rotated, precision) for rotated in (False, True) for precision in ("fp32", "fp16", "int8")
]
# Of raw scores and deltas, both of the order of 1.
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 0.2}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def built(request, _gpu, tmp_path_factory):
    """The network, its precision, the plan's path, and what the export said."""
    pytest.importorskip("tensorrt")
    rotated, precision = request.param
    folder = tmp_path_factory.mktemp("plan")
    network = PlainNetwork(rotated)
    network.save(folder / "m.onnx", int8=precision == "int8")
    flags = ["--full-precision"] * (precision == "fp32") + ["--rotated-bbox"] * rotated
    arguments = ["export", folder / "m.onnx", folder / "m.plan", *flags,
                 "--dynamic-batch-opts", 1, 2, 2]  # fmt: skip
    outcome = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert outcome.exit_code == 0, outcome.output
    return network, precision, folder / "m.plan", outcome


@pytest.fixture
def running(built):
    """The plan on the GPU, two pictures a launch."""
    path = str(built[2])
    with open_tensorrt_plan(path, read_sidecar(path), 4) as plan:
        yield plan


def test_raw_outputs_are_those_of_numpy(built, running):
    """Three pictures: the second launch has one and is filled up."""
    network, precision, *_ = built
    found, expected = running.raw(pictures(), SIZE), network.raw(pictures())
    for one, two in zip(found, expected, strict=True):
        assert one.shape == two.shape
        assert np.abs(one - two).max() < TOLERANCE[precision]


def test_detections_are_those_of_the_outputs(built, running):
    network, precision, *_ = built
    found = running.detect(pictures(), SIZE)
    expected = network.raw(pictures())[:5]
    assert len(found) == 3
    for i, one in enumerate(found):
        best = max(level[i].max() for level in expected)
        assert best > 0.3
        assert 0 < len(one) <= 20
        assert abs(one.scores[0] - best) < TOLERANCE[precision]
        assert (np.diff(one.scores) <= 0).all()
        assert one.boxes.shape[1] == network.about.box_values
        if network.about.rotated:
            np.testing.assert_allclose(np.hypot(*one.boxes[:, 4:].T), 1, atol=1e-5)


def test_a_picture_does_not_depend_on_its_mate(running):
    first, second, _ = pictures()
    together, alone = running.detect([first, second], SIZE), running.detect([first], SIZE)
    assert together[0].boxes.tobytes() == alone[0].boxes.tobytes()
    assert together[0].scores.tobytes() == alone[0].scores.tobytes()


def test_tensorrt_says_in_which_precision_layers_are(built, running):
    layers = read_layers(running.information())
    assert layers is not None
    assert sum(layers.counts.values()) >= 5
    if built[1] == "fp32":
        assert set(layers.counts) == {"FP32"}


def test_the_export_ends_with_a_check_and_a_summary(built):
    network, precision, path, outcome = built
    wrote, bound, layers, checked, *_, after = outcome.stdout.splitlines()
    boxes = "rotated boxes, " if network.about.rotated else ""
    assert f"{boxes}128x128, {precision.upper()}, batch 1 to 2" in wrote
    about = read_sidecar(str(path))
    assert bound == f"for {' '.join(about.gpu)}, with {about.tensorrt}"
    assert layers.startswith("layers by precision: ")
    assert after == f"next: odtk-ray infer {path} --images DIR"
    if all(importlib.util.find_spec(name) for name in ("torch", "onnxruntime")):
        found = re.search(r"against ONNX Runtime .* within (\S+), .* within (\S+), ", checked)
        assert max(map(float, found.groups())) < TOLERANCE[precision]
    else:
        assert checked.startswith("it runs: its outputs are finite on 2 made-up pictures; not ")
    assert "not finite" not in outcome.stderr


@pytest.mark.cluster
def test_plans_write_rotated_detections(built, tmp_path):
    """The whole job, on a Ray of its own; JSON of five numbers and the outline."""
    network, _, path, _ = built
    if not network.about.rotated:
        pytest.skip("axis-aligned plans are in test_gpu_tensorrt.py")
    import ray

    for seed in range(5):
        picture(seed, 200, 150).save(tmp_path / f"{seed}.jpg")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        arguments = ["infer", path, "--images", tmp_path, "--rotated-bbox", "--rotated-nms", "odtk",
                     "--output", tmp_path / "d.json"]  # fmt: skip
        outcome = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    finally:
        ray.shutdown()
    assert outcome.exit_code == 0, outcome.output
    found = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))["annotations"]
    assert len({row["image_id"] for row in found}) == 5
    for row in found:
        outline = corners(np.array([row["bbox"]])).ravel().tolist()
        assert row["segmentation"] == [outline]
