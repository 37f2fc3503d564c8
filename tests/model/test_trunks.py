"""The trunks against torchvision's networks: the same names, and the same bits."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from odtk_files import TRUNKS, trained
from torch import nn

from odtk_ray.model.backbones import BACKBONES, build_trunk, unused_tensors


def taps(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """C3, C4 and C5 of a network of torchvision."""
    if isinstance(network, torchvision.models.MobileNetV2):
        cuts = (network.features[:7], network.features[7:14], network.features[14:18])
    else:
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        cuts = (nn.Sequential(stem, network.layer1, network.layer2), network.layer3, network.layer4)
    found = []
    for cut in cuts:
        x = cut(x)
        found.append(x)
    return found


@pytest.mark.parametrize("name", BACKBONES)
def test_taps_are_torchvisions(name):
    torch.manual_seed(0)
    network = getattr(torchvision.models, TRUNKS[name][0])(weights=None).eval()
    state = {key: trained(key, tensor) for key, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    with torch.device("meta"):
        trunk, channels = build_trunk(name)
    unused = unused_tensors(name)
    assert {k: (t.shape, t.dtype) for k, t in unused.items()} == {
        k: (state[k].shape, state[k].dtype) for k in state.keys() - trunk.state_dict().keys()
    }
    trunk.load_state_dict({k: t for k, t in state.items() if k not in unused}, assign=True)
    x = torch.randn(2, 3, 96, 64)
    with torch.inference_mode():
        ours, theirs = trunk.eval()(x), taps(network, x)
    assert tuple(level.shape[1] for level in ours) == channels
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ["ResNet50FPN", "MobileNetV2FPN"])
def test_random_weights_keep_the_size_of_signals(name):
    torch.manual_seed(0)
    trunk, _ = build_trunk(name)
    with torch.inference_mode():  # in training mode: normalised by the batch
        spread = [float(level.std()) for level in trunk.train()(torch.randn(4, 3, 128, 128))]
    assert all(0.1 < value < 10 for value in spread)
