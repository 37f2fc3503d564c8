"""RetinaNet: one or more backbones with their pyramids, and the two heads that all levels share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from odtk_ray.artifacts.input_size import STRIDES
from odtk_ray.model.fpn import FPN


class RetinaNet(nn.Module):
    """The network of ODTK up to the raw outputs of its heads; decoding and NMS are not part of it.

    Source: Lin et al. 2017, arXiv:1708.02002. `state_dict()` has ODTK's names, without the tensors
    that do nothing (see `backbones.unused_tensors`). The weights are random until they are loaded;
    under `backbones.without_data` there are none.

    Args:
        backbones: ODTK's factory names, each once; every one adds five levels.
        classes: number of classes C, there is none for the background.
        anchors: number of anchors A of a cell.
        box_values: numbers of a box delta: 4, or 6 for rotated boxes.
        channels: width of the pyramids and of the heads.

    Attributes:
        strides: pixels of the network input to one cell of each level, five for each backbone.

    Raises:
        UsageError: a backbone is unknown.
    """

    def __init__(
        self,
        backbones: Sequence[str],
        classes: int,
        *,
        anchors: int = 9,
        box_values: int = 4,
        channels: int = 256,
    ) -> None:
        super().__init__()
        self.classes, self.anchors = classes, anchors
        self.box_values, self.channels = box_values, channels
        self.strides: tuple[int, ...] = STRIDES * len(backbones)
        self.backbones = nn.ModuleDict({name: FPN(name, channels) for name in backbones})
        self.cls_head = _head(channels, anchors * classes)
        self.box_head = _head(channels, anchors * box_values)

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Compute class logits and box deltas of every level, P3 to P7 of each backbone in order.

        Args:
            x: float [B, 3, H, W], normalised images; H and W are multiples of 128 for the strides
                to be exact (of 32 at least).

        Returns:
            Class logits, float [B, A * C, h, w] a level, channel a * C + c, before the sigmoid; and
            box deltas, float [B, A * box_values, h, w], channel a * box_values + (dx, dy, dw, dh),
            for rotated boxes followed by sin and cos.
        """
        levels = [level for backbone in self.backbones.values() for level in backbone(x)]
        return [self.cls_head(level) for level in levels], [
            self.box_head(level) for level in levels
        ]


def _head(channels: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(channels, outputs, 3, padding=1))
