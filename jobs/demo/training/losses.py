"""RetinaNet's two losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import Tensor

from training.targets import IGNORED

ALPHA, GAMMA = 0.25, 2.0  # arXiv:1708.02002, 4
BETA = 0.11  # ODTK's; where the box loss turns from square to linear


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum the focal loss over all anchors that count.

    With p = sigmoid(logit) and p_t = p for the anchor's class, 1 - p for all others, each logit
    adds -alpha_t (1 - p_t)^gamma log(p_t), alpha_t = alpha for its class, 1 - alpha for the others.
    Source: Lin et al. 2017, arXiv:1708.02002, equation 5.

    Args:
        logits: float [..., C].
        labels: int64 [...], a class, `BACKGROUND` or `IGNORED`.

    Returns:
        float32 [], 0 where nothing counts.
    """
    counts = labels != IGNORED
    logits, labels = logits[counts].float(), labels[counts]
    classes = torch.arange(logits.shape[-1], device=logits.device)
    targets = (labels[:, None] == classes).float()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    missing = torch.abs(targets - logits.sigmoid())  # 1 - p_t
    alpha = torch.where(targets > 0, ALPHA, 1 - ALPHA)
    return (alpha * missing**GAMMA * cross_entropy).sum()


def box_loss(deltas: Tensor, wanted: Tensor, labels: Tensor) -> Tensor:
    """Sum smooth L1 between the deltas of foreground anchors.

    A difference d adds d^2 / (2 beta) below beta, |d| - beta / 2 from there on.
    Source: Girshick 2015, arXiv:1504.08083, equation 3, with ODTK's beta.

    Args:
        deltas: float [..., V].
        wanted: float32 [..., V].
        labels: int64 [...], at least 0 for foreground.

    Returns:
        float32 [].
    """
    near = labels >= 0
    return F.smooth_l1_loss(deltas[near].float(), wanted[near], beta=BETA, reduction="sum")


def losses(logits: Tensor, deltas: Tensor, labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Compute both losses of a batch, each over its number of foreground anchors (at least 1).

    Args:
        logits: float [B, N, C].
        deltas: float [B, N, V].
        labels: int64 [B, N], a class, `BACKGROUND` or `IGNORED`.
        wanted: float32 [B, N, V].

    Returns:
        focal loss and box loss, float32 [] each.
    """
    foreground = (labels >= 0).sum().clamp(min=1)
    return (
        focal_loss(logits, labels) / foreground,
        box_loss(deltas, wanted, labels) / foreground,
    )
