"""RetinaNet on an NVIDIA GPU with the kernels of `cuda_ops`: from files to detections.

The engine's thread decodes and uploads the next batch on one stream while the GPU works through
the last one on another, in which nothing waits for the host between the resize and the copy of
the final detections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import cuda_ops
from odtk_ray.engines.cuda_step import CudaStep
from odtk_ray.engines.gpu_network import fused, load_network, padded
from odtk_ray.engines.kernel_layers import with_kernels
from odtk_ray.engines.launch_timing import time_stages
from odtk_ray.engines.launches import Launches, PinnedDetections
from odtk_ray.engines.protocol import Closing, Content, Outcome
from odtk_ray.images.gpu_loader import GpuLoader, PendingPicture
from odtk_ray.images.nvimagecodec import JPEG_KINDS, JpegKind
from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.ops.anchors import generate_anchors
from odtk_ray.settings import Postprocessing, Preprocessing

Shape = tuple[int, int]


class CudaEngine(Closing):
    """An engine for checkpoints on GPUs with the CUDA kernels.

    It belongs to the thread that makes it, except `read` and the outcomes.

    Args:
        checkpoint: the model to run.
        prep: how pictures become network input.
        post: thresholds behind the heads.
        launch_batch: pictures in one launch; missing ones are zeros.
        threads: CPU threads of the JPEG decoder.
        shapes: (height, width) of the planned network inputs, largest first; they are ready when
            the engine is. Other shapes are made ready on first use.
        full_precision: float32 without TF32, instead of float16.
        jpeg: kinds of GPU decoders for JPEG files, the best first; empty decodes none on the GPU.
        index: number of the GPU.

    Raises:
        CudaUnavailable: the kernels cannot be used here.
        DecoderUnavailable: no JPEG decoder of these kinds works here.
        torch.OutOfMemoryError: a launch of the largest shape does not fit.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        prep: Preprocessing,
        post: Postprocessing,
        *,
        launch_batch: int,
        threads: int,
        shapes: Sequence[Shape] = (),
        full_precision: bool = False,
        jpeg: Sequence[JpegKind] = JPEG_KINDS,
        index: int = 0,
    ) -> None:
        self._post = post
        self._batch = launch_batch
        self._device = cuda_ops.Device(index)  # before torch: it sets up how CUDA starts
        torch.cuda.set_device(index)
        self._stream = torch.cuda.ExternalStream(self._device.stream)  # type: ignore[no-untyped-call]
        self._loader = GpuLoader(prep, jpeg, threads=threads, index=index)
        model = load_network(checkpoint, full_precision=full_precision)
        self._strides, self._classes = model.strides, checkpoint.classes
        self._dtype = torch.float32 if full_precision else torch.float16
        network = fused(model) if full_precision else padded(fused(model))
        self._channels = 3 if full_precision else 4
        self._network, self._biases = with_kernels(network, self._device)
        self._rotated = checkpoint.rotated
        self._anchors = [
            generate_anchors(
                stride,
                checkpoint.ratios,
                checkpoint.scales,
                checkpoint.anchors,
                checkpoint.angles,
            ).numpy()
            for stride in self._strides
        ]
        self._memory = torch.empty(0, dtype=self._dtype, device="cuda")
        self._pool: Any = None
        self._steps: dict[Shape, CudaStep] = {}
        self._launches = Launches(
            self._device,
            self._loader,
            batch=launch_batch,
            detections=post.detections,
            box_values=6 if self._rotated else 4,
        )
        self.prepare(shapes)
        precision = "fp32" if full_precision else "fp16"
        name = self._device.name.replace(" ", "-")
        self.key = f"pytorch-{name}-{precision}-cuda_ops-{self._loader.key}"

    @property
    def decoder_key(self) -> str:
        """The image decoder, its version and kind."""
        return self._loader.key

    def read(self, data: Content) -> PendingPicture:
        """See `Engine.read`."""
        return self._loader.read(data)

    @torch.inference_mode()
    def launch(
        self, pictures: Sequence[PendingPicture], shape: Shape
    ) -> Callable[[], list[Outcome]]:
        """See `Engine.launch`."""
        return self._launches.start(
            pictures, lambda good, results: self._queue(good, shape, results)
        )

    @torch.inference_mode()
    def prepare(self, shapes: Sequence[Shape]) -> None:
        """See `Engine.prepare`."""
        self._device.synchronize()
        self._steps = {shape: step for shape, step in self._steps.items() if shape in shapes}
        if not self._steps:  # torch gives the last graph's pool up, and takes no graph into it
            self._pool = torch.cuda.graph_pool_handle()
            self._memory = torch.empty(0, dtype=self._dtype, device="cuda")
            torch.cuda.empty_cache()  # what others than torch allocate needs room, too
        with torch.cuda.stream(self._stream):
            for shape in shapes:
                self._step(shape)

    @torch.inference_mode()
    def stages(self, shape: Shape) -> tuple[float, float]:
        """Return the seconds of network and post-processing of one launch of this shape."""
        with torch.cuda.stream(self._stream):
            step = self._step(shape)
            return time_stages(self._device, step.run, step.postprocess)

    def memory(self) -> tuple[int, int]:
        """Return the free bytes of the GPU's memory, and its size in bytes."""
        self._device.synchronize()
        return self._device.memory()

    def close(self) -> None:
        """Free the GPU; every launch must have been waited for.

        Graphs, memory and streams are freed in this order, even if the engine is still referenced.
        """
        self._device.synchronize()
        self._steps.clear()
        self._launches.close()
        self._loader.close()
        self._device.close()

    def _queue(
        self, pictures: Sequence[cuda_ops.GpuPicture], shape: Shape, results: PinnedDetections
    ) -> torch.cuda.Event:
        """Queue a launch; return the event after it."""
        with torch.cuda.stream(self._stream):
            self._step(shape).launch(pictures, results)
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record()
        return done

    def _step(self, shape: Shape) -> CudaStep:
        if shape not in self._steps:
            step = CudaStep(
                self._device,
                self._network,
                self._input(shape),
                self._strides,
                self._anchors,
                self._classes,
                self._post,
                rotated=self._rotated,
                biases=self._biases,
            )
            step.capture(self._pool, self._stream)
            self._steps[shape] = step
        return self._steps[shape]

    def _input(self, shape: Shape) -> Tensor:
        """Return [B, channels, *shape], channels last, in memory that all shapes share."""
        size = self._batch * self._channels * shape[0] * shape[1]
        if self._memory.numel() < size:
            self._memory = torch.zeros(size, dtype=self._dtype, device="cuda")
        return self._memory[:size].view(self._batch, *shape, self._channels).permute(0, 3, 1, 2)
