"""Initialises a trunk that no weights are loaded into."""

from __future__ import annotations

from torch import nn


def he_weights(trunk: nn.Module) -> None:
    """Draw every convolution's weights so that signals keep their size (arXiv:1502.01852)."""
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
