"""Counts the arithmetic of a checkpoint's network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from odtk_ray.model.pth import CheckpointSettings
from odtk_ray.model.weights import skeleton


def network_flops(settings: CheckpointSettings, size: tuple[int, int]) -> int:
    """Count the additions and multiplications of the convolutions for one picture.

    A convolution has 2 K H W C / G for each channel of its output of H x W, with kernels of K
    elements, C input channels and G groups. All else, below 1%, is left out. No weights are needed,
    and nothing is computed.

    Args:
        settings: of the checkpoint.
        size: (height, width) of the network input in pixels.
    """
    counted: list[int] = []

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            kernel = layer.kernel_size[0] * layer.kernel_size[1]
            counted.append(2 * kernel * layer.in_channels // layer.groups * output.numel())

    network = skeleton(settings)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.empty(1, 3, *size, device="meta"))
    return sum(counted)
