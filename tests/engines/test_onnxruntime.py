"""Exported models in ONNX Runtime against the PyTorch engine on the same network input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from odtk_ray.cli.program import cli
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.errors import UsageError
from odtk_ray.exports.check.compare_detections import match
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.settings import Postprocessing

SHAPE = (96, 160)  # no multiple of 128: P6 and P7 cover more than the input
POST = Postprocessing(0.1, 50, 0.4, 30)


@pytest.fixture(scope="module", params=["ranked", "ranked_rotated"])
def trained(request):
    """An axis-aligned checkpoint, and a rotated one."""
    return request.getfixturevalue(request.param)


def exported(trained, folder, *flags):
    path = folder / "m.onnx"
    values = "--threshold 0.1 --top-n 50 --nms 0.4 --detections 30".split()
    size = map(str, SHAPE)
    arguments = ["export", str(trained), str(path), "--size", *size, *values, *flags]
    outcome = CliRunner().invoke(cli, arguments)
    assert outcome.exit_code == 0, outcome.output
    return path


@pytest.fixture(scope="module", params=["raw", "detections"])
def model(request, trained, tmp_path_factory):
    flags = ["--with-postprocess"] * (request.param == "detections")
    return exported(trained, tmp_path_factory.mktemp("onnx"), *flags)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(11)
    sizes = [(96, 160), (96, 128), (33, 160)]
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sizes]


def assert_alike(runs):
    """Equal detections, but for rounding."""
    assert len(runs[0]) == 3
    for one, two in zip(*runs, strict=True):
        assert len(one) == len(two) > 5
        assert match(one, two, iou=0.99, score=0.0) == (2 * len(one), 2 * len(one))
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
        assert one.boxes.shape == two.boxes.shape


def test_detections_are_pytorchs(trained, model, pictures):
    engine = OnnxRuntimeEngine(str(model), POST, launch_batch=4)
    reference = PyTorchEngine(load_checkpoint(trained), POST, launch_batch=4)
    assert_alike((engine.detect(pictures, SHAPE), reference.detect(pictures, SHAPE)))


@pytest.mark.parametrize("fixed", [True, False])
def test_either_way_to_compare_angles_is_pytorchs(ranked_rotated, pictures, tmp_path, fixed):
    """In the graph, and behind raw outputs."""
    odtk = replace(POST, rotated_nms="odtk")
    flags = ["--rotated-nms", "odtk", "--with-postprocess"] if fixed else []
    path = exported(ranked_rotated, tmp_path, *flags)
    engine = OnnxRuntimeEngine(str(path), POST if fixed else odtk, launch_batch=4)
    own, other = (
        PyTorchEngine(load_checkpoint(ranked_rotated), post, launch_batch=4).detect(pictures, SHAPE)
        for post in (POST, odtk)
    )
    assert_alike((engine.detect(pictures, SHAPE), other))
    assert any(len(a) != len(b) or np.any(a.scores != b.scores)
               for a, b in zip(own, other, strict=True))  # fmt: skip


def test_raw_outputs_are_pytorchs(trained, pictures, tmp_path):
    engine = OnnxRuntimeEngine(str(exported(trained, tmp_path)), POST, launch_batch=4)
    reference = PyTorchEngine(load_checkpoint(trained), POST, launch_batch=4)
    runs = engine.raw(pictures, SHAPE), reference.raw(pictures, SHAPE)
    assert len(runs[0]) == 10
    for one, two in zip(*runs, strict=True):
        assert one.shape == two.shape
        assert len(one) == 3
        np.testing.assert_allclose(one, two, atol=1e-3 * max(1, np.abs(two).max()))


def test_a_short_batch_gives_the_rows_of_its_pictures_only(model, pictures):
    engine = OnnxRuntimeEngine(str(model), POST, launch_batch=4)
    assert engine.detect([], SHAPE) == []
    short, full = engine.detect(pictures[:2], SHAPE), engine.detect(pictures, SHAPE)
    for one, two in zip(short, full, strict=False):
        assert one.boxes.tobytes() == two.boxes.tobytes()


def test_another_shape_is_a_defect_of_the_caller(model, pictures):
    with pytest.raises(ValueError, match=r"\(96, 160\)"):
        OnnxRuntimeEngine(str(model), POST, launch_batch=1).detect(pictures[:1], (96, 96))


def test_its_key_says_what_computes(model):
    key = OnnxRuntimeEngine(str(model), POST, launch_batch=1, gpu=False).key
    name, version, device, precision = key.split("-")
    assert (name, device, precision) == ("onnxruntime", "cpu", "fp32")
    assert version[0].isdigit()


def test_a_damaged_graph_is_refused_in_one_line(model, tmp_path):
    import onnx

    broken = onnx.load(model)
    broken.graph.node[3].input[0] = "nowhere"
    path = tmp_path / "broken.onnx"
    onnx.save(broken, path)
    with pytest.raises(UsageError, match="ONNX Runtime says") as caught:
        OnnxRuntimeEngine(str(path), POST, launch_batch=1)
    assert len(str(caught.value)) < 500
