"""The self-check of an export: the file that was written against PyTorch, on a few pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from odtk_ray.config import Preprocessing
from odtk_ray.data.images import load_picture
from odtk_ray.data.sources import find_images
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine, normalise
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.model.exported import ExportedModel
from odtk_ray.ops.boxes import pairwise_iou
from odtk_ray.records import Detections

PICTURES = 4  # compared at most
SAME_IOU, COUNTED_SCORE = 0.9, 0.3  # what a matched detection is, and which ones are counted


@dataclass(frozen=True)
class Check:
    """How far the exported model is from PyTorch.

    Attributes:
        pictures: how many were compared.
        made_up: whether they are noise, in which a trained model may find nothing.
        scores: greatest difference of a raw score; None where the graph ends in detections.
        deltas: greatest difference of a raw box delta; likewise.
        matched: counted detections with a partner in the other run.
        counted: detections of both runs with a score of 0.3 or more.
    """

    pictures: int
    made_up: bool
    scores: float | None
    deltas: float | None
    matched: int
    counted: int

    @property
    def share(self) -> float:
        """Share of the counted detections that are matched; 1 if there are none."""
        return self.matched / self.counted if self.counted else 1.0

    def line(self) -> str:
        """For people."""
        kind = "made-up pictures" if self.made_up else "pictures"
        parts = [f"{self.matched:,} of {self.counted:,} detections matched"]
        if not self.counted:
            parts = ["nothing detected (--check-images DIR gives it something to find)"]
        if self.scores is not None and self.deltas is not None:
            parts.insert(0, f"scores within {self.scores:.1g}, box deltas within {self.deltas:.1g}")
        return f"checked against PyTorch on {self.pictures} {kind}: {', '.join(parts)}"


def check_pictures(images: str | None, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Pictures of at most the model's size: a few that decode, or seeded noise.

    They are taken from all over the folder: neighbours often show the same, or nothing.

    Raises:
        UsageError: there are images, and none of them can be used.
    """
    if images is None:
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (2, size[0] // 16, size[1] // 16, 3), dtype=np.uint8)
        return list(coarse.repeat(16, axis=1).repeat(16, axis=2))
    pictures = []
    prep = Preprocessing(fit=size)
    paths = find_images(images).records["path"].to_pylist()
    step = -(-len(paths) // PICTURES)
    for path in (path for start in range(step) for path in paths[start::step]):
        try:
            pictures.append(load_picture(Path(path).read_bytes(), prep).pixels)
        except (ImageError, OSError):
            continue
        if len(pictures) == PICTURES:
            break
    if not pictures:
        raise UsageError(f"no image in {images} can be used for the check")
    return pictures


def check_onnx(
    path: str, checkpoint: Checkpoint, about: ExportedModel, pictures: list[NDArray[np.uint8]]
) -> Check:
    """Compares an ONNX file, in ONNX Runtime, with the checkpoint in PyTorch in FP32 on the CPU.

    Args:
        path: of the file.
        checkpoint: what it was exported from.
        about: what it says about itself.
        pictures: uint8 [h, w, 3], RGB, of at most the model's size.
    """
    post, batch = about.post, len(pictures)
    threads = torch.get_num_threads()
    exported = OnnxRuntimeEngine(path, post, launch_batch=batch, threads=threads)
    reference = PyTorchEngine(checkpoint, post, launch_batch=batch, threads=threads)
    scores = deltas = None
    if about.outputs == "raw":
        scores, deltas = _raw_differences(exported, checkpoint, about, pictures)
    matched = counted = 0
    if not about.rotated:
        runs = [engine.detect(pictures, about.size) for engine in (exported, reference)]
        for one, other in zip(*runs, strict=True):
            found, all_counted = match(one, other)
            matched, counted = matched + found, counted + all_counted
    return Check(batch, False, scores, deltas, matched, counted)


@torch.inference_mode()
def _raw_differences(
    exported: OnnxRuntimeEngine,
    checkpoint: Checkpoint,
    about: ExportedModel,
    pictures: Sequence[NDArray[np.uint8]],
) -> tuple[float, float]:
    batch = normalise(pictures, len(pictures), about)
    logits, deltas = checkpoint.build()(torch.from_numpy(batch))
    found = [torch.from_numpy(array) for array in exported.raw(batch)]
    levels = len(logits)

    def furthest(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
        return max(float((a - b).abs().max()) for a, b in zip(ones, others, strict=True))

    return (
        furthest([level.sigmoid() for level in logits], found[:levels]),
        furthest(deltas, found[levels:]),
    )


def match(
    one: Detections, other: Detections, *, iou: float = SAME_IOU, score: float = COUNTED_SCORE
) -> tuple[int, int]:
    """Matches the detections of two runs one to one, the best overlap first.

    Args:
        one: of one picture.
        other: of the same picture in the other run.
        iou: least overlap of a pair; its classes are equal.
        score: detections of at least this score are counted, their partners may have less.

    Returns:
        How many counted detections of both runs have a partner, and how many are counted.
    """
    counted = int((one.scores >= score).sum() + (other.scores >= score).sum())
    if not len(one) or not len(other):
        return 0, counted
    overlap = pairwise_iou(_upright(one.boxes), _upright(other.boxes)).nan_to_num(0).numpy()
    overlap = np.where(one.classes[:, None] == other.classes[None], overlap, 0)
    matched = 0
    free_one, free_other = np.ones(len(one), bool), np.ones(len(other), bool)
    for place in np.argsort(-overlap, axis=None, kind="stable"):
        i, j = np.unravel_index(place, overlap.shape)
        if overlap[i, j] < iou:
            break
        if free_one[i] and free_other[j]:
            free_one[i] = free_other[j] = False
            matched += int(one.scores[i] >= score) + int(other.scores[j] >= score)
    return matched, counted


def _upright(boxes: NDArray[np.float32]) -> Tensor:
    """Boxes whose second corner is not before the first: clipping can leave them inverted."""
    first, last = boxes[:, :2], boxes[:, 2:]
    ordered = [np.minimum(first, last), np.maximum(first, last)]
    return torch.from_numpy(np.concatenate(ordered, axis=1))
