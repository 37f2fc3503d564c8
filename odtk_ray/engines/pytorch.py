"""Runs RetinaNet in PyTorch, with `ops/` after the heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from odtk_ray.engines.gpu_network import fused, load_network
from odtk_ray.engines.protocol import HostEngine
from odtk_ray.images.normalise import normalise
from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.ops.anchors import generate_anchors
from odtk_ray.ops.decode_heads import decode_heads
from odtk_ray.ops.nms import nms
from odtk_ray.records import Detections
from odtk_ray.settings import MEAN, STD, Postprocessing, Preprocessing


class PyTorchEngine(HostEngine):
    """Runs a checkpoint in FP32 on the CPU, or in FP16 on a GPU that `cuda_ops` does not serve.

    Every call computes a full launch batch: missing pictures are filled with zeros and their rows
    dropped, since results move in the last bits when the batch size changes.

    Args:
        checkpoint: the model to run.
        post: thresholds behind the heads.
        prep: how `read` makes pictures network input.
        launch_batch: pictures in one call.
        threads: CPU threads of the calling thread's operators.
        full_precision: no FP16 on a GPU.
        device: `cpu` or `cuda`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        post: Postprocessing,
        *,
        prep: Preprocessing = HostEngine.prep,
        launch_batch: int,
        threads: int = 1,
        full_precision: bool = False,
        device: str = "cpu",
    ) -> None:
        torch.set_num_threads(threads)
        self.prep = prep
        self._device = torch.device(device)
        self._half = self._device.type == "cuda" and not full_precision
        self._batch = launch_batch
        self._post = post
        self._rotated = checkpoint.rotated
        if self._device.type == "cuda":
            self._model = fused(load_network(checkpoint, full_precision=full_precision))
        else:
            self._model = checkpoint.build().to(memory_format=torch.channels_last)
        self._anchors = [
            generate_anchors(
                stride,
                checkpoint.ratios,
                checkpoint.scales,
                checkpoint.anchors,
                checkpoint.angles,
            ).to(self._device)
            for stride in self._model.strides
        ]
        self._mean = torch.tensor(MEAN, device=self._device).view(3, 1, 1)
        self._std = torch.tensor(STD, device=self._device).view(3, 1, 1)
        self.key = f"pytorch-{_processor(self._device)}-{'fp16' if self._half else 'fp32'}"

    @torch.inference_mode()
    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[Detections]:
        """See `HostEngine.detect`."""
        heads = self._heads(pictures, shape)
        scores, boxes, classes = decode_heads(
            *heads,
            self._anchors,
            self._model.strides,
            threshold=self._post.threshold,
            top_n=self._post.top_n,
            rotated=self._rotated,
        )
        kept = nms(
            scores,
            boxes,
            classes,
            threshold=self._post.nms,
            detections=self._post.detections,
            own_angles=self._post.rotated_nms == "own",
        )
        return [_row(*(column[i].cpu().numpy() for column in kept)) for i in range(len(pictures))]

    @torch.inference_mode()
    def raw(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> list[NDArray[np.float32]]:
        """Return what an exported model would return as raw outputs, for pictures of `detect`.

        Returns:
            probabilities float32 [n, A*C, h, w] of all levels, then deltas [n, A*4 or A*6, h, w].
        """
        scores, deltas = self._heads(pictures, shape)
        return [level[: len(pictures)].cpu().numpy() for level in (*scores, *deltas)]

    def memory(self) -> tuple[int, int]:
        """Return the free bytes of the GPU's memory, and its size in bytes."""
        torch.cuda.synchronize()
        return torch.cuda.mem_get_info()

    def _heads(
        self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Compute probabilities and deltas of all levels, float32, of a full launch batch."""
        batch = self._normalise(pictures, shape)
        logits, deltas = self._model(batch.half() if self._half else batch)
        return [level.float().sigmoid() for level in logits], [level.float() for level in deltas]

    def _normalise(self, pictures: Sequence[NDArray[np.uint8]], shape: tuple[int, int]) -> Tensor:
        """Return float32 [launch_batch, 3, *shape]; padding is 0 after normalisation."""
        batch = torch.zeros((self._batch, 3, *shape), device=self._device)
        batch = batch.contiguous(memory_format=torch.channels_last)
        for slot, picture in zip(batch, pictures, strict=False):
            h, w = picture.shape[:2]
            pixels = torch.tensor(picture, device=self._device).permute(2, 0, 1)
            slot[:, :h, :w] = normalise(pixels.float(), self._mean, self._std)
        return batch


def _processor(device: torch.device) -> str:
    """Name what the arithmetic depends on: the GPU, or the CPU's vector instructions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device).replace(" ", "-")
    return f"cpu-{torch.backends.cpu.get_cpu_capability().lower()}"


def _row(
    scores: NDArray[np.float32], boxes: NDArray[np.float32], classes: NDArray[np.int64]
) -> Detections:
    """Return the used slots of one image; unused slots have score 0."""
    used = scores > 0
    return Detections(scores[used], boxes[used], classes[used].astype(np.int32))
