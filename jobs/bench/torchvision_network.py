"""torchvision's RetinaNet with random weights that find as many candidates as `biased.py`'s."""

from __future__ import annotations

import math
from typing import Any

import torch
from biased import CANDIDATES
from torch import Tensor, nn
from torchvision.models.detection import retinanet_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.resnet import Bottleneck


def make_network(classes: int, **settings: Any) -> Any:
    """Make a seeded RetinaNet with a ResNet50."""
    torch.manual_seed(0)
    network = retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=classes, **settings
    )
    network.eval().requires_grad_(False)
    for block in (module for module in network.modules() if isinstance(module, Bottleneck)):
        block.bn3.weight.fill_(0.3)  # else the sums of residual blocks grow without end
    return network


def bias(network: Any, batch: Tensor) -> None:
    """Set the class head's last layer for about `CANDIDATES` in an image of the batch."""
    last = network.head.classification_head.cls_logits
    last.bias.zero_()

    def logits() -> Tensor:
        levels: Tensor = network.head(list(network.backbone(batch).values()))["cls_logits"]
        return levels.flatten()

    with torch.inference_mode():
        last.weight.div_(logits().std())
        found = logits()
    cut = found.topk(min(CANDIDATES * len(batch), len(found))).values[-1]
    last.bias.fill_(math.log(0.05 / 0.95) - cut.item())


class Prepared(nn.Module):
    """Takes the place of a network's own resizing and normalising: batches come ready."""

    def forward(self, images: Tensor, targets: None) -> tuple[ImageList, None]:
        """Return the batch as the network's next part takes it."""
        return ImageList(images, [tuple(images.shape[-2:])] * len(images)), targets

    def postprocess(self, found: Any, *_: object) -> Any:
        """Return the detections as they are."""
        return found


class TorchvisionNetwork:
    """The network on the current GPU as a user with torchvision alone runs it, in half precision.

    Args:
        batch: float32 [B, 3, H, W] on the GPU, noise that the bias is set by.
        classes: number of classes.
    """

    def __init__(self, batch: Tensor, classes: int = 80) -> None:
        self._network = make_network(classes).to(batch.device, memory_format=torch.channels_last)
        bias(self._network, batch)
        self._network.transform = Prepared()

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> Any:
        """Compute the detections of a float32 [B, 3, H, W] batch."""
        with torch.autocast("cuda", torch.float16):
            return self._network(batch)
