"""One launch of one shape on a GPU: preprocessing, network, post-processing, results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import cuda_ops
from odtk_ray.engines.launches import PinnedDetections
from odtk_ray.images.normalise import pixel_levels
from odtk_ray.settings import MEAN, STD, Postprocessing

Scalar = Literal["float16", "float32"]
# Of class logits and of box deltas.
Biases = tuple[NDArray[Any], NDArray[Any]]
Network = Callable[[Tensor], tuple[list[Tensor], list[Tensor]]]


class CudaStep:
    """Everything that a launch of one shape does, on one stream; a CUDA graph after `capture`.

    Args:
        device: whose stream it is; torch's current stream is the same.
        network: batch to class logits and box deltas of each level.
        batch: float16 or float32 [B, 3, H, W], or with a fourth channel that becomes 0; channels
            last: the input, which steps may share.
        strides: of each level, in pixels.
        anchors: for each level float32 [A, 4].
        classes: number of classes.
        post: thresholds behind the heads.
        rotated: whether the boxes are rotated.
        biases: of class logits and box deltas, where the network leaves them out; see
            `cuda_ops.Postprocess` for those of further channels.
    """

    def __init__(
        self,
        device: cuda_ops.Device,
        network: Network,
        batch: Tensor,
        strides: Sequence[int],
        anchors: Sequence[NDArray[np.float32]],
        classes: int,
        post: Postprocessing,
        *,
        rotated: bool,
        biases: Biases | None = None,
    ) -> None:
        count, channels, height, width = batch.shape
        dtype: Scalar = "float16" if batch.dtype == torch.float16 else "float32"
        self._device, self._network, self._batch = device, network, batch
        self._prep = cuda_ops.Preprocess(
            device,
            batch=count,
            shape=(height, width),
            dtype=dtype,
            layout="HWC" if channels == 3 else "HWC4",
            levels=pixel_levels(MEAN, STD),
        )
        self._post = cuda_ops.Postprocess(
            device,
            [
                cuda_ops.Level(-(-height // stride), -(-width // stride), stride, table)
                for stride, table in zip(strides, anchors, strict=True)
            ],
            batch=count,
            classes=classes,
            threshold=post.threshold,
            top_n=post.top_n,
            nms=post.nms,
            detections=post.detections,
            dtype=dtype,
            logits=True,
            channels_last=True,
            score_bias=None if biases is None else biases[0],
            delta_bias=None if biases is None else biases[1],
            rotated=post.rotated_nms if rotated else None,
        )
        self._heads: tuple[list[int], list[int]] = [], []
        self._graph: torch.cuda.CUDAGraph | None = None

    def compute(self) -> None:
        """Queue network and post-processing of the batch's current content."""
        heads = self._network(self._batch)
        # The kernels read through pointers: no step may leave another memory order behind.
        logits, deltas = (
            [level.contiguous(memory_format=torch.channels_last) for level in head]
            for head in heads
        )
        self._heads = [t.data_ptr() for t in logits], [t.data_ptr() for t in deltas]
        self.postprocess()

    def postprocess(self) -> None:
        """Queue decoding and NMS of what the network left, which the next launch overwrites."""
        self._post.launch(*self._heads)

    def capture(self, pool: Any, stream: torch.cuda.Stream) -> None:
        """Run once, so that every library is loaded, and record that run as a CUDA graph.

        Args:
            pool: memory that graphs share: they run one after the other, and nothing that a graph
                leaves in it is read after it.
            stream: the device's, as torch knows it.
        """
        self.compute()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads of the process may allocate meanwhile.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self.compute()
        self._graph = graph

    def run(self) -> None:
        """Queue the graph; without one, queue what it would hold."""
        if self._graph is None:
            self.compute()
        else:
            self._graph.replay()

    def launch(self, pictures: Sequence[cuda_ops.GpuPicture], results: PinnedDetections) -> None:
        """Queue everything for a batch of pictures, up to the copy of their detections."""
        self._prep.launch(pictures, self._batch.data_ptr())
        self.run()
        results.download(self._post)
