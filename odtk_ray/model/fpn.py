"""The feature pyramid on top of a trunk."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import Tensor, nn

from odtk_ray.model.backbones import build_trunk


class FPN(nn.Module):
    """A trunk and its feature pyramid, wired as ODTK does.

    P6 comes from C5 (not from P5), P7 from ReLU(P6), and only P3, P4 and P5 are smoothed, after
    the way down. Source: Lin et al. 2017, arXiv:1612.03144, with the P6 and P7 of RetinaNet,
    arXiv:1708.02002.

    Args:
        backbone: ODTK's factory name, one of `backbones.BACKBONES`.
        channels: width of every level.

    Raises:
        UsageError: the backbone is unknown.
    """

    def __init__(self, backbone: str, channels: int) -> None:
        super().__init__()
        self.features, (c3, c4, c5) = build_trunk(backbone)
        self.lateral3 = nn.Conv2d(c3, channels, 1)
        self.lateral4 = nn.Conv2d(c4, channels, 1)
        self.lateral5 = nn.Conv2d(c5, channels, 1)
        self.pyramid6 = nn.Conv2d(c5, channels, 3, stride=2, padding=1)
        self.pyramid7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.smooth3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.smooth4 = nn.Conv2d(channels, channels, 3, padding=1)
        self.smooth5 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the five levels.

        Args:
            x: float [B, 3, H, W], a normalised image; H and W are multiples of 32, and of 128
                where the strides of P6 and P7 are to be exact.

        Returns:
            P3 to P7, float [B, channels, h, w] with h = H / stride and w = W / stride, rounded up.
        """
        c3, c4, c5 = self.features(x)
        p5 = self.lateral5(c5)
        p4 = F.interpolate(p5, scale_factor=2.0, mode="nearest") + self.lateral4(c4)
        p3 = F.interpolate(p4, scale_factor=2.0, mode="nearest") + self.lateral3(c3)
        p6 = self.pyramid6(c5)
        p7 = self.pyramid7(F.relu(p6))
        return [self.smooth3(p3), self.smooth4(p4), self.smooth5(p5), p6, p7]
