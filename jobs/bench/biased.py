"""Models with random weights that find as many candidates as a trained one.

    python jobs/bench/biased.py model.pth --size 800 1280

A trained model has about 6,900 scores above 0.05 in an image of COCO; the last bias of the class
head is set so that random weights have as many, in noise.
"""

from __future__ import annotations

import math
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from odtk_ray.model.checkpoint import save_checkpoint
from odtk_ray.model.resnet import BasicBlock, Bottleneck
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

CANDIDATES = 6_900


def write_biased_model(
    path: Path, batch: Tensor, classes: int = 80, backbone: str = "ResNet50FPN"
) -> float:
    """Write the checkpoint; return the candidates of an image of the batch.

    Args:
        path: of the checkpoint.
        batch: float32 [B, 3, H, W], pictures as the model will see them, where it is to run.
        classes: number of classes.
        backbone: ODTK's name.
    """
    torch.manual_seed(0)
    model = RetinaNet([backbone], classes).eval().requires_grad_(False)
    for last in _last_norms(model):
        last.weight.fill_(0.3)  # else the sums of residual blocks grow without end
    model.to(batch.device)
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


def _last_norms(model: RetinaNet) -> list[nn.BatchNorm2d]:
    """Return the normalisations before the sums of residual blocks."""
    blocks = [module for module in model.modules() if isinstance(module, BasicBlock | Bottleneck)]
    return [block.bn3 if isinstance(block, Bottleneck) else block.bn2 for block in blocks]


@click.command(help=__doc__.splitlines()[0])
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--backbone", default="ResNet50FPN", show_default=True)
@click.option("--classes", type=click.IntRange(1), default=80, show_default=True)
@click.option("--size", type=click.IntRange(32), nargs=2, default=(800, 1280), show_default=True)
def main(path: Path, backbone: str, classes: int, size: tuple[int, int]) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    noise = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    candidates = write_biased_model(path, noise, classes, backbone)
    print(f"{path}: {backbone}, {classes} classes, {candidates:,.0f} candidates an image of noise")


if __name__ == "__main__":
    main()
