"""RetinaNet's two losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import Tensor

from odtk_ray.training.targets import IGNORED

ALPHA, GAMMA = 0.25, 2.0  # arXiv:1708.02002, 4
BETA = 0.11  # ODTK's; where the box loss turns from square to linear


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The focal loss of all anchors that count, a sum.

    With p = sigmoid(logit) and p_t = p for foreground, 1 - p for background, an anchor adds
    -alpha_t (1 - p_t)^gamma log(p_t), alpha_t = alpha for foreground, 1 - alpha for background.
    Source: Lin et al. 2017, arXiv:1708.02002, equation 5.

    Args:
        logits: float [...].
        targets: float32 [...], 1, 0 or `IGNORED`.

    Returns:
        float32 [], 0 where nothing counts.
    """
    counts = targets != IGNORED
    logits, targets = logits[counts].float(), targets[counts]
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missing = torch.abs(targets - logits.sigmoid())  # 1 - p_t
    alpha = torch.where(targets > 0, ALPHA, 1 - ALPHA)
    return (alpha * missing**GAMMA * cross_entropy).sum()


def box_loss(deltas: Tensor, wanted: Tensor, targets: Tensor) -> Tensor:
    """Smooth L1 between the deltas of foreground anchors, a sum.

    A difference d adds d^2 / (2 beta) below beta, |d| - beta / 2 from there on.
    Source: Girshick 2015, arXiv:1504.08083, equation 3, with ODTK's beta.

    Args:
        deltas: float [..., 4].
        wanted: float32 [..., 4].
        targets: float32 [...], 1 for foreground.

    Returns:
        float32 [].
    """
    near = targets == 1
    return F.smooth_l1_loss(deltas[near].float(), wanted[near], beta=BETA, reduction="sum")


def losses(
    logits: Tensor, deltas: Tensor, targets: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Both losses of a batch, each over its number of foreground anchors (at least 1).

    Args:
        logits: float [B, N].
        deltas: float [B, N, 4].
        targets: float32 [B, N], 1, 0 or `IGNORED`.
        wanted: float32 [B, N, 4].

    Returns:
        focal loss and box loss, float32 [] each.
    """
    foreground = (targets == 1).sum().clamp(min=1)
    return (
        focal_loss(logits, targets) / foreground,
        box_loss(deltas, wanted, targets) / foreground,
    )
