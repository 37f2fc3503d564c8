"""The fused network computes what the checkpoint's network computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from odtk_ray.model.folding import fold_batch_norms
from odtk_ray.model.fused import fuse_relu
from odtk_ray.model.retinanet import RetinaNet

# Groups, both kinds of residual blocks, ReLU6, two backbones.
BACKBONES = [
    ["ResNet18FPN"],
    ["ResNet50FPN"],
    ["ResNeXt50_32x4dFPN"],
    ["MobileNetV2FPN"],
    ["ResNet18FPN", "MobileNetV2FPN"],
]


def network(backbones):
    """Seeded weights, and statistics that are not those of an untrained BatchNorm."""
    generator = torch.Generator().manual_seed(5)
    model = RetinaNet(backbones, 3, channels=16).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            values = torch.randn(module.weight.shape, generator=generator)
            module.weight.copy_(values * (2 / fan_in) ** 0.5)
        if isinstance(module, nn.BatchNorm2d):
            for name in ("weight", "bias", "running_mean", "running_var"):
                values = torch.rand(module.weight.shape, generator=generator)
                getattr(module, name).copy_(values * 0.5 + (0.5 if "var" in name else 0.25))
    return model


@pytest.mark.parametrize("backbones", BACKBONES, ids="+".join)
@torch.inference_mode()
def test_outputs_are_equal_up_to_rounding(backbones):
    model = network(backbones).double()
    folded = fold_batch_norms(model)
    fused = fuse_relu(copy.deepcopy(folded))
    image = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1)).double()
    for wanted, got in zip(model(image), fused(image), strict=True):
        for one, two in zip(wanted, got, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-9)


@torch.inference_mode()
def test_a_fused_copy_shares_the_weights_and_leaves_the_original_as_it_was():
    from odtk_ray.engines.gpu_network import fused

    folded = fold_batch_norms(network(["ResNet18FPN"]))
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    before = folded(image)
    copied = fused(folded)
    weights = [{id(p) for p in model.parameters() if p.dim() > 1} for model in (copied, folded)]
    assert weights[0] == weights[1]
    for one, two in zip(before, folded(image), strict=True):
        assert all(map(torch.equal, one, two))


@torch.inference_mode()
@pytest.mark.parametrize("backbones", BACKBONES, ids="+".join)
def test_padding_changes_nothing_but_rounding(backbones):
    from odtk_ray.engines.gpu_network import padded

    model = fold_batch_norms(network(backbones).double())
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)).double()
    wider = padded(model)
    heads = wider(torch.cat([image, torch.zeros_like(image[:, :1])], 1))
    for wanted, got, filler in zip(model(image), heads, (-torch.inf, 0), strict=True):
        for one, two in zip(wanted, got, strict=True):
            channels = one.shape[1]
            assert two.shape[1] % 32 == 0
            torch.testing.assert_close(one, two[:, :channels], rtol=1e-8, atol=1e-9)
            assert (two[:, channels:] == filler).all()
    assert wider.cls_head[0].weight is model.cls_head[0].weight
    assert model.cls_head[-1].out_channels == 27
