"""The network before its first step: a trained trunk, everything else random."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from odtk_ray.model.retinanet import RetinaNet

BACKBONE = "MobileNetV2FPN"
CHANNELS = 64  # a quarter of ODTK's: quick on a CPU, and small enough to ship
PRIOR = 0.01  # score of every box before training; arXiv:1708.02002, 4.1


def starting_model(
    trunk: Mapping[str, Tensor], seed: int, *, classes: int = 1, anchors: int = 9, values: int = 4
) -> RetinaNet:
    """Build a detector whose trunk is trained, ready to train the rest.

    Pyramid: Xavier, as in ODTK. Heads: He instead of ODTK's normal(0, 0.01), which with 64
    channels leaves a thousandth of the signal behind four layers and costs thousands of steps; the
    last layers normal(0, 0.01), so that every score is near `PRIOR` and every delta near 0.

    Args:
        trunk: torchvision's MobileNetV2, by its names; the classifier's tensors are left out.
        seed: of the random weights.
        classes: number of classes.
        anchors: number of anchors of a cell.
        values: numbers of a box delta, 4, or 6 of rotated boxes.

    Raises:
        KeyError: a tensor of the trunk is missing.
    """
    torch.manual_seed(seed)
    model = RetinaNet([BACKBONE], classes, anchors=anchors, box_values=values, channels=CHANNELS)
    for layer in model.backbones.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
    for head in (model.cls_head, model.box_head):
        hidden = [layer for layer in head if isinstance(layer, nn.Conv2d)]
        for layer in hidden[:-1]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(hidden[-1].weight, std=0.01)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    # sigmoid(bias) is the prior
    nn.init.constant_(model.get_parameter("cls_head.8.bias"), -math.log((1 - PRIOR) / PRIOR))
    prefix = f"backbones.{BACKBONE}.features."
    state = {
        name: trunk[name.removeprefix(prefix)] if name.startswith(prefix) else tensor
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model
