"""Folding against the network with its BatchNorms, for every backbone, and against the formula."""

from __future__ import annotations

import pytest
import torch
from odtk_files import TRUNKS, odtk_file
from torch import nn

from odtk_ray.model.backbones import BACKBONES
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.folding import fold_batch_norms
from odtk_ray.model.retinanet import RetinaNet


def trained_model(tmp_path, backbones):
    torch.manual_seed(3)
    path = tmp_path / "model.pth"
    torch.save(odtk_file(backbones, 2, channels=8), path)
    return load_checkpoint(path).build()


@pytest.mark.parametrize("backbones", [["ResNet18FPN"], ["ResNet50FPN"], ["ResNeXt50_32x4dFPN"],
                                       ["MobileNetV2FPN", "ResNet18FPN"]])  # fmt: skip
@torch.inference_mode()
def test_outputs_are_those_of_the_original(tmp_path, backbones):
    model = trained_model(tmp_path, backbones)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fold_batch_norms(model)
    x = torch.randn(1, 3, 128, 64)
    for expected, found in zip(model(x), folded(x), strict=True):
        for level, (one, two) in enumerate(zip(expected, found, strict=True)):
            scale = one.abs().max()
            assert (one - two).abs().max() <= 2e-5 * scale, level
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_convolution_has_a_bias_and_its_old_name(backbone):
    with torch.device("meta"):
        model = RetinaNet([backbone], 2)
    assert backbone in TRUNKS
    folded = fold_batch_norms(model)
    convs = {n: m for n, m in folded.named_modules() if isinstance(m, nn.Conv2d)}
    assert convs.keys() == {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert all(conv.bias is not None for conv in convs.values())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert not folded.training


def test_the_formula_on_one_channel():
    model = RetinaNet(["ResNet18FPN"], 2, channels=8).eval()
    norm = model.backbones["ResNet18FPN"].features.bn1
    with torch.no_grad():
        model.backbones["ResNet18FPN"].features.conv1.weight[0] = 2.0
        norm.weight[0], norm.bias[0] = 3.0, 0.5
        norm.running_mean[0], norm.running_var[0] = 4.0, 4.0 - norm.eps
    conv = fold_batch_norms(model).backbones["ResNet18FPN"].features.conv1
    assert torch.equal(conv.weight[0], torch.full((3, 7, 7), 3.0))  # 2 * 3 / sqrt(4)
    assert conv.bias[0] == -5.5  # (0 - 4) * 3 / 2 + 0.5


def test_a_batch_norm_without_a_convolution_is_refused():
    model = RetinaNet(["ResNet18FPN"], 2, channels=8).eval()
    model.backbones["ResNet18FPN"].features.maxpool = nn.BatchNorm2d(64)
    with pytest.raises(ValueError, match=r"features\.maxpool"):
        fold_batch_norms(model)
