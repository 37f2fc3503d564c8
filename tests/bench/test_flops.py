"""The FLOPs of networks: by hand, by the literature's order of magnitude, and of exported files."""

from __future__ import annotations

import numpy as np
import pytest

import odtk_ray
from odtk_ray.bench.onnx_flops import onnx_flops
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.network_flops import network_flops
from odtk_ray.model.pth import CheckpointSettings

HEAD = 2 * 3 * 3  # multiplications and additions of a 3x3 kernel, for each channel in and out


def settings(backbone, classes):
    return CheckpointSettings(backbones=(backbone,), classes=classes)  # 9 anchors a cell


def test_resnet50_at_800x1280_with_80_classes_has_477_gflop():
    assert round(network_flops(settings("ResNet50FPN", 80), (800, 1280)) / 1e9) == 477


def test_a_class_more_costs_the_last_layer_of_the_head_alone():
    """9 anchors x 256 channels x 18 for each cell, and so many cells have 128x128 pixels."""
    cells = 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2 + 1
    one, two = (network_flops(settings("ResNet18FPN", c), (128, 128)) for c in (1, 2))
    assert two - one == HEAD * 256 * 9 * cells


def test_flops_grow_with_the_area():
    small = network_flops(settings("ResNet18FPN", 3), (128, 128))
    assert network_flops(settings("ResNet18FPN", 3), (256, 384)) == 6 * small


@pytest.mark.parametrize("more", [{}, {"with_postprocess": True}, {"half": True}])
def test_an_exported_file_has_those_of_its_checkpoint(checkpoint, tmp_path, more):
    path = str(tmp_path / "model.onnx")
    odtk_ray.export(str(checkpoint), path, size=(64, 96), **more)
    assert onnx_flops(path) == network_flops(load_checkpoint(checkpoint), (64, 96))


def test_groups_divide_the_flops_of_an_onnx_file(tmp_path):
    """A depthwise 3x3 of 4 channels over 5x6: 2 x 9 x 1 x 4 x 30 = 2160."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4, 5, 6]) for n in "xy"]
    weight = numpy_helper.from_array(np.zeros((4, 1, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=4, pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph), tmp_path / "one.onnx")
    assert onnx_flops(str(tmp_path / "one.onnx")) == 2160
