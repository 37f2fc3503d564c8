"""MobileNetV2's trunk (arXiv:1801.04381, table 2), with the names of torchvision's."""

from __future__ import annotations

from torch import Tensor, nn

from odtk_ray.model.initial_weights import he_weights

# For each stage: expansion of its blocks, channels, blocks, stride of the first one.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_TAPS = (6, 13, 17)  # the last layers at strides 8, 16 and 32


class InvertedResidual(nn.Module):
    """A 1x1 convolution that expands, a depthwise one of 3x3, and a 1x1 one without ReLU.

    Args:
        inputs: channels that come in.
        outputs: channels that leave; as many as come in, and stride 1, make it a sum.
        stride: of the depthwise convolution.
        expansion: channels of the depthwise convolution over `inputs`; 1 has nothing to expand.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [_conv_norm_relu(inputs, inner, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand,
            _conv_norm_relu(inner, inner, 3, stride, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self._adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block: float [B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        out: Tensor = self.conv(x)
        return x + out if self._adds else out


class MobileNetV2Trunk(nn.Module):
    """C3, C4 and C5 of MobileNetV2: after its layers 6, 13 and 17."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_norm_relu(3, 32, 3, 2)]
        inputs = 32
        for expansion, outputs, depth, stride in _STAGES:
            for block in range(depth):
                first = stride if block == 0 else 1
                layers.append(InvertedResidual(inputs, outputs, first, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers)
        he_weights(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the taps after the layers 6, 13 and 17; shapes as `ResNetTrunk.forward`."""
        taps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in _TAPS:
                taps.append(x)
        c3, c4, c5 = taps
        return c3, c4, c5


def _conv_norm_relu(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )
