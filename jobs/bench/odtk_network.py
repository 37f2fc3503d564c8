"""ODTK's network and loader, written plainly with today's PyTorch, around `odtk_scheme`.

Autocast and channels last, nothing folded; Pillow in two processes, one batch after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from odtk_scheme import postprocess
from PIL import Image
from torch import Tensor

from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.ops.anchors import generate_anchors
from odtk_ray.settings import MEAN, STD, Postprocessing

POST = Postprocessing()


class OdtkNetwork:
    """The checkpoint's network with ODTK's post-processing, on the current GPU."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = checkpoint.build().cuda().to(memory_format=torch.channels_last)
        self._anchors = [
            generate_anchors(s, checkpoint.ratios, checkpoint.scales, checkpoint.anchors).cuda()
            for s in self._model.strides
        ]

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Compute scores, boxes and classes of each image of a float32 [B, 3, H, W] batch."""
        with torch.autocast("cuda", torch.float16):
            logits, deltas = self._model(batch)
            scores = [level.sigmoid() for level in logits]
        return postprocess(
            scores,
            [level.float() for level in deltas],
            self._anchors,
            self._model.strides,
            threshold=POST.threshold,
            top_n=POST.top_n,
            nms=POST.nms,
            detections=POST.detections,
        )


class Pictures(torch.utils.data.Dataset[tuple[Tensor, float]]):
    """ODTK's loader: Pillow, resize, float32, normalised, padded to 128."""

    def __init__(self, paths: Sequence[Path], resize: int, max_size: int) -> None:
        self._paths, self._resize, self._max_size = paths, resize, max_size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        image = Image.open(self._paths[index]).convert("RGB")
        ratio = self._resize / min(image.size)
        if ratio * max(image.size) > self._max_size:
            ratio = self._max_size / max(image.size)
        width, height = (int(ratio * side) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        data = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
        data = (data - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        return torch.nn.functional.pad(data, (0, -width % 128, 0, -height % 128)), ratio


def collate(items: Sequence[tuple[Tensor, float]]) -> tuple[Tensor, list[float]]:
    """Pad pictures to the largest one of the batch."""
    height = max(data.shape[1] for data, _ in items)
    width = max(data.shape[2] for data, _ in items)
    batch = torch.zeros(len(items), 3, height, width)
    for slot, (data, _) in zip(batch, items, strict=True):
        slot[:, : data.shape[1], : data.shape[2]] = data
    return batch, [ratio for _, ratio in items]


def detect_files(
    network: OdtkNetwork, paths: Sequence[Path], batch: int, resize: int, max_size: int
) -> list[dict[str, Any]]:
    """Detect in all files; return COCO rows."""
    loader = torch.utils.data.DataLoader(
        Pictures(paths, resize, max_size),
        batch_size=batch,
        num_workers=2,
        pin_memory=True,
        collate_fn=collate,
    )
    rows: list[dict[str, Any]] = []
    done = 0
    for data, ratios in loader:
        pictures = data.cuda(non_blocking=True).to(memory_format=torch.channels_last)
        for (scores, boxes, classes), ratio in zip(network(pictures), ratios, strict=True):
            corners = (boxes / ratio).tolist()
            for score, (x1, y1, x2, y2), label in zip(
                scores.tolist(), corners, classes.tolist(), strict=True
            ):
                box = [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
                rows.append({"image_id": done, "category_id": label, "score": score, "bbox": box})
            done += 1
    return rows
