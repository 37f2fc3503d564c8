"""Random weights of a trunk that nothing was loaded into."""

from __future__ import annotations

from torch import nn


def he_weights(trunk: nn.Module) -> None:
    """Draws every convolution's weights so that signals keep their size (arXiv:1502.01852)."""
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
