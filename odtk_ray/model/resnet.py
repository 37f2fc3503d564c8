"""ResNet and ResNeXt trunks (arXiv:1512.03385, 1611.05431), with the names of torchvision's.

As in torchvision the stride of a bottleneck is that of its 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from odtk_ray.model.initial_weights import he_weights


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to the input.

    Args:
        inputs: channels that come in.
        planes: channels of the stage.
        stride: of the first convolution.
        downsample: what brings the input to the output's shape; None where it has it.
    """

    EXPANSION = 1  # output channels over `planes`

    def __init__(
        self, inputs: int, planes: int, stride: int, downsample: nn.Sequential | None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block: float [B, inputs, H, W] to [B, planes, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, added to the input.

    Args:
        inputs: channels that come in.
        planes: channels of the stage; four times as many leave the block.
        stride: of the 3x3 convolution.
        downsample: what brings the input to the output's shape; None where it has it.
        groups: of the 3x3 convolution.
        width: channels of a group of the first stage, which has 64 `planes`.
    """

    EXPANSION = 4  # output channels over `planes`

    def __init__(
        self,
        inputs: int,
        planes: int,
        stride: int,
        downsample: nn.Sequential | None,
        groups: int = 1,
        width: int = 64,
    ) -> None:
        super().__init__()
        inner = planes * width // 64 * groups
        outputs = planes * self.EXPANSION
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block: float [B, inputs, H, W] to [B, 4 planes, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


class ResNetTrunk(nn.Module):
    """C3, C4 and C5 of a ResNet or ResNeXt.

    Args:
        block: what the stages are made of.
        depths: blocks of each of the four stages.
        grouping: `groups` and `width` of bottlenecks.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: Sequence[int],
        **grouping: int,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu: nn.Module = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1)
        inputs = 64

        def stage(planes: int, depth: int, stride: int) -> nn.Sequential:
            nonlocal inputs
            outputs = planes * block.EXPANSION
            downsample = None
            if stride != 1 or inputs != outputs:
                shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
            blocks = [block(inputs, planes, stride, downsample, **grouping)]
            inputs = outputs
            blocks += [block(inputs, planes, 1, None, **grouping) for _ in range(depth - 1)]
            return nn.Sequential(*blocks)

        self.layer1 = stage(64, depths[0], 1)
        self.layer2 = stage(128, depths[1], 2)
        self.layer3 = stage(256, depths[2], 2)
        self.layer4 = stage(512, depths[3], 2)
        he_weights(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the taps after layer2, layer3 and layer4.

        Args:
            x: float [B, 3, H, W], a normalised image.

        Returns:
            C3, C4, C5: float [B, channels, H / 8, W / 8], then / 16, then / 32, rounded up.
        """
        c2 = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)
