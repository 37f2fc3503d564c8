"""A ResNet50FPN of 80 classes with random weights that finds as many candidates as a trained one.

A trained model has about 6,900 scores above 0.05 in an image of COCO; the last bias of the class
head is set so that random weights have as many.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from odtk_ray.model.checkpoint import save_checkpoint
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

CANDIDATES = 6_900


def write_biased_model(path: Path, batch: Tensor, classes: int = 80) -> float:
    """Write the checkpoint; returns the candidates of an image of the batch.

    Args:
        path: of the checkpoint.
        batch: float32 [B, 3, H, W] on the GPU, pictures as the model will see them.
        classes: number of classes.
    """
    torch.manual_seed(0)
    model = RetinaNet(["ResNet50FPN"], classes).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if name.endswith("bn3.weight"):
            weight.fill_(0.3)  # else the sums of residual blocks grow without end
    model.cuda()
    model.get_parameter("cls_head.8.bias").zero_()
    with torch.inference_mode():
        spread = torch.cat([level.flatten() for level in model(batch)[0]]).std()
    model.get_parameter("cls_head.8.weight").div_(spread)
    with torch.inference_mode():
        logits = torch.cat([level.flatten() for level in model(batch)[0]])
    cut = logits.topk(CANDIDATES * len(batch)).values[-1]
    model.get_parameter("cls_head.8.bias").fill_(math.log(0.05 / 0.95) - cut.item())
    save_checkpoint(path, model.cpu(), ratios=DEFAULT_RATIOS, scales=DEFAULT_SCALES)
    return float((logits >= cut).sum()) / len(batch)
