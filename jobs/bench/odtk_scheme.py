"""Decoding and suppression as ODTK schedules them: one image and one level after the other.

Each level of each image is thresholded, which tells the host how many candidates there are, sorted
in full and decoded; each image is then suppressed on its own. torchvision's kernel stands in for
ODTK's suppression: it draws the line at another pixel, so this measures time only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from odtk_ray.ops.boxes import decode_boxes


def decode_level(
    scores: Tensor, deltas: Tensor, anchors: Tensor, stride: int, threshold: float, top_n: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the candidates of one level of one image.

    Args:
        scores: probabilities [A*C, h, w].
        deltas: [A*4, h, w].
        anchors: float32 [A, 4].
        stride: pixels between cells.
        threshold: scores are greater.
        top_n: candidates kept.

    Returns:
        scores [n], boxes [n, 4], classes [n].
    """
    height, width = scores.shape[1:]
    classes = len(scores) // len(anchors)
    flat = scores.float().flatten()
    index = (flat > threshold).nonzero().squeeze(1)  # waits for the GPU, as ODTK does
    found, order = flat[index].sort(descending=True, stable=True)
    found, index = found[:top_n], index[order[:top_n]]
    column, row = index % width, index // width % height
    channel = index // (width * height)
    anchor = channel // classes
    regressed = deltas.reshape(len(anchors), 4, height, width)[anchor, :, row, column]
    origin = (torch.stack([column, row, column, row], dim=1) * stride).float()
    boxes = decode_boxes(regressed, origin + anchors[anchor], width * stride, height * stride)
    return found, boxes, channel % classes


def postprocess(
    scores: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    strides: Sequence[int],
    *,
    threshold: float,
    top_n: int,
    nms: float,
    detections: int,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Compute the detections of each image: scores [n], boxes [n, 4], classes [n].

    Args:
        scores: for each level, probabilities [B, A*C, h, w].
        deltas: for each level, [B, A*4, h, w].
        anchors: for each level, float32 [A, 4].
        strides: for each level.
        threshold: scores are greater.
        top_n: candidates kept of each level.
        nms: IoU that is still tolerated.
        detections: kept of each image.
    """
    results = []
    for image in range(len(scores[0])):
        levels = [
            decode_level(s[image], d[image], a, stride, threshold, top_n)
            for s, d, a, stride in zip(scores, deltas, anchors, strides, strict=True)
        ]
        columns = [torch.cat(column) for column in zip(*levels, strict=True)]
        kept = batched_nms(columns[1], columns[0], columns[2], nms)[:detections]
        results.append((columns[0][kept], columns[1][kept], columns[2][kept]))
    return results
