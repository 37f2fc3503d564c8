"""Anchor boxes of a pyramid level, in both generations that ODTK trained checkpoints with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

DEFAULT_RATIOS = (1.0, 2.0, 0.5)
DEFAULT_SCALES = (4.0, 4.0 * 2 ** (1 / 3), 4.0 * 2 ** (2 / 3))
DEFAULT_ANGLES = (-math.pi / 6, 0.0, math.pi / 6)  # of rotated models


def generate_anchors(
    stride: int,
    ratios: Sequence[float],
    scales: Sequence[float],
    generation: Literal["current", "legacy"],
    angles: Sequence[float] | None = None,
) -> Tensor:
    """Compute the anchors of the cell at the origin; cell (x, y) adds (x, y) * stride to them.

    A cell is a square of `stride` pixels. For the ratio r = h / w its area is kept,
    w = sqrt(stride^2 / r) and h = w * r, and both sides are multiplied by the scale around the
    cell's centre. "current" anchors have corners stride / 2 +- side / 2. "legacy" anchors
    (ODTK until March 2020, and all rotated models) round w and h, half to even, before scaling,
    and take 1 from the far corner. Decoding adds 1 to widths, so "current" anchors act one pixel
    larger than their nominal size.

    Rotated models have the same anchors once for each angle. The boxes are not turned: decoding
    takes theta from the head alone, and the angles matter when targets are assigned in training.

    Source: ODTK's box.py, tags 0.1.1 (legacy) and 21.06 (current).

    Args:
        stride: pixels of the network input between neighbouring cells of the level.
        ratios: height / width, each greater than 0.
        scales: side of the anchor over the side of its cell.
        generation: which formula; ODTK's rotated models are "legacy".
        angles: of a rotated model.

    Returns:
        float32 [A, 4], xyxy, pixels of the network input; A = len(scales) * len(ratios), row
        scale * len(ratios) + ratio, all of it repeated for each angle. On the CPU.
    """
    # Every step is rounded to float32: golden values and checkpoints depend on it.
    ratio = torch.tensor(ratios, dtype=torch.float32)
    widths = torch.sqrt(torch.tensor(float(stride * stride)) / ratio)
    if generation == "legacy":
        widths = widths.round()
    heights = widths * ratio
    if generation == "legacy":
        heights = heights.round()
    sizes = torch.stack([widths, heights], dim=1)  # [R, 2]
    scaled = (torch.tensor(scales, dtype=torch.float32)[:, None, None] * sizes).reshape(-1, 2)
    near = 0.5 * (stride - scaled)
    far = 0.5 * (stride + scaled)
    anchors = torch.cat([near, far - 1 if generation == "legacy" else far], dim=1)
    return anchors if angles is None else anchors.repeat(len(angles), 1)
