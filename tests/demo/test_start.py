"""The network before training."""

import pytest
import torch
from training.start import starting_model


def test_starting_model_has_the_trunk_and_the_prior(trunk):
    model = starting_model(trunk, 0)
    state = model.state_dict()
    prefix = "backbones.MobileNetV2FPN.features."
    theirs = [name for name in state if name.startswith(prefix)]
    assert len(theirs) > 200
    assert all(torch.equal(state[name], trunk[name.removeprefix(prefix)]) for name in theirs)
    assert state["cls_head.8.bias"].sigmoid().tolist() == pytest.approx([0.01] * 9)
    # He: the square root of 2 / fan in, here of 3x3 convolutions of 64 channels
    for head in ("cls_head", "box_head"):
        assert state[f"{head}.4.weight"].std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.05)
        assert state[f"{head}.8.weight"].std().item() == pytest.approx(0.01, rel=0.05)
        assert not state[f"{head}.4.bias"].any()
    # xavier: uniform within sqrt(6 / (fan in + fan out))
    limit = (6 / (9 * 64 + 9 * 64)) ** 0.5
    smooth = state["backbones.MobileNetV2FPN.smooth3.weight"]
    assert 0.99 * limit < smooth.abs().max().item() <= limit


def test_starting_model_follows_its_seed(trunk):
    first, same, other = (starting_model(trunk, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["cls_head.0.weight"], other["cls_head.0.weight"])


def test_starting_model_refuses_another_trunk(trunk):
    incomplete = {name: t for name, t in trunk.items() if name != "features.17.conv.2.weight"}
    with pytest.raises(KeyError):
        starting_model(incomplete, 0)
