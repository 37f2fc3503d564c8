"""Runs TensorRT plans with the kernels of `cuda_ops`: from files to detections, without torch.

As in `engines/cuda.py`, the engine's thread decodes and uploads the next batch on one stream while
the GPU works through the last one on another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import cuda_ops
from odtk_ray.artifacts.exported_model import INPUT_NAME, ExportedModel
from odtk_ray.artifacts.plan_key import engine_key
from odtk_ray.artifacts.sidecar import check_machine, read_sidecar
from odtk_ray.engines.launch_timing import time_stages
from odtk_ray.engines.launches import GpuDetections, Launches, PinnedDetections
from odtk_ray.engines.loaded_plan import TensorRTPlan
from odtk_ray.engines.protocol import Closing, Content, Outcome
from odtk_ray.engines.tensorrt_package import import_tensorrt, package_version
from odtk_ray.images.gpu_loader import GpuLoader, PendingPicture
from odtk_ray.images.normalise import pixel_levels
from odtk_ray.images.nvimagecodec import JPEG_KINDS, JpegKind
from odtk_ray.settings import Postprocessing, Preprocessing

_BYTES = 4  # both ends of a plan are float32


class TensorRTEngine(Closing):
    """An engine for TensorRT plans.

    It belongs to the thread that makes it, except `read` and the outcomes.

    Args:
        path: of the plan; its sidecar lies beside it.
        prep: how pictures become network input; they fit into the plan's size.
        post: thresholds behind the plan's raw outputs; those of a plan that ends in detections.
        launch_batch: pictures in one launch, within the plan's range; missing ones are zeros.
        threads: CPU threads of the JPEG decoder.
        jpeg: kinds of GPU decoders for JPEG files, the best first; empty decodes none on the GPU.
        expect: SHA-256 of the plan.
        index: number of the GPU.

    Raises:
        UsageError: the plan is damaged, or for another GPU or another TensorRT.
        OdtkError: TensorRT cannot run it here.
        CudaUnavailable: the kernels cannot be used here.
        DecoderUnavailable: no JPEG decoder of these kinds works here.
    """

    def __init__(
        self,
        path: str,
        prep: Preprocessing,
        post: Postprocessing,
        *,
        launch_batch: int,
        threads: int,
        jpeg: Sequence[JpegKind] = JPEG_KINDS,
        expect: str | None = None,
        index: int = 0,
    ) -> None:
        about = read_sidecar(path, expect)
        least, _, greatest = about.batches
        if not least <= launch_batch <= greatest:
            raise ValueError(f"a launch of {launch_batch} is not within {least} to {greatest}")
        trt = import_tensorrt(about.tensorrt.split()[0])
        self._device = cuda_ops.Device(index)
        capability = "{}.{}".format(*self._device.capability)
        check_machine(path, about, package_version(trt), (self._device.name, capability))
        self._plan = TensorRTPlan(trt, path, about)
        self._loader = GpuLoader(prep, jpeg, threads=threads, index=index)
        self._launches = Launches(
            self._device,
            self._loader,
            batch=launch_batch,
            detections=post.detections,
            box_values=about.model.box_values,
        )
        self._shape = about.model.size
        self._step = TensorRTStep(self._device, self._plan, about.model, post, launch_batch)
        self._step.capture()
        gpu, model = (self._device.name, capability), about.model
        name = engine_key(gpu, about.tensorrt, model.precision, model.size)
        self.key = f"{name}-cuda_ops-{self._loader.key}"

    @property
    def decoder_key(self) -> str:
        """The image decoder, its version and kind."""
        return self._loader.key

    def read(self, data: Content) -> PendingPicture:
        """See `Engine.read`."""
        return self._loader.read(data)

    def launch(
        self, pictures: Sequence[PendingPicture], shape: tuple[int, int]
    ) -> Callable[[], list[Outcome]]:
        """See `Engine.launch`; `shape` is the plan's size."""
        if shape != self._shape:
            raise ValueError(f"the plan's input is {self._shape}, not {shape}")
        return self._launches.start(pictures, self._queue)

    def outputs(self) -> list[NDArray[np.float32]]:
        """Return the plan's outputs of the last launch, which must have been waited for.

        Returns:
            for each, float32 [launch batch, channels, rows, columns], or the detections.
        """
        return self._step.outputs()

    def stages(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Return the seconds of network and post-processing of one launch, of the plan's shape."""
        return time_stages(self._device, self._step.run, self._step.postprocess)

    def information(self) -> str:
        """See `TensorRTPlan.information`."""
        return self._plan.information()

    def memory(self) -> tuple[int, int]:
        """Return the free bytes of the GPU's memory, and its size in bytes."""
        self._device.synchronize()
        return self._device.memory()

    def close(self) -> None:
        """Free the GPU; every launch must have been waited for.

        The graph, the plan that it was captured from, and the streams are freed in this order.
        """
        self._device.synchronize()
        self._step.close()
        self._plan.close()
        self._launches.close()
        self._loader.close()
        self._device.close()

    def _queue(
        self, pictures: list[cuda_ops.GpuPicture], results: PinnedDetections
    ) -> cuda_ops.Event:
        self._step.launch(pictures, results)
        done = self._device.event()
        done.record()
        return done


@dataclass
class PlanDetections:
    """The outputs of a plan that ends in detections; see `GpuDetections`."""

    scores: cuda_ops.Buffer
    boxes: cuda_ops.Buffer
    classes: cuda_ops.Buffer


class TensorRTStep:
    """Everything that a launch of a plan does, on one stream; a CUDA graph after `capture`.

    A plan that ends in detections needs nothing behind it.

    Args:
        device: whose stream it is.
        plan: the network.
        about: the description of its model.
        post: thresholds behind its raw outputs.
        batch: pictures in one launch.
    """

    def __init__(
        self,
        device: cuda_ops.Device,
        plan: TensorRTPlan,
        about: ExportedModel,
        post: Postprocessing,
        batch: int,
    ) -> None:
        self._device, self._plan = device, plan
        shape = (batch, 3, *about.size)
        self._input = device.alloc(_BYTES * batch * 3 * about.size[0] * about.size[1])
        self._shapes = [(batch, *about.end_shapes[name]) for name in about.output_names]
        self._outputs = [device.alloc(_BYTES * math.prod(output)) for output in self._shapes]
        pointers = [buffer.ptr for buffer in self._outputs]
        addresses = dict(zip(about.output_names, pointers, strict=True))
        plan.bind(shape, addresses | {INPUT_NAME: self._input.ptr})
        self._prep = cuda_ops.Preprocess(
            device,
            batch=batch,
            shape=about.size,
            dtype="float32",
            layout="CHW",
            levels=pixel_levels(about.mean, about.std),
        )
        self._post = None if about.ends_in_detections else _postprocess(device, about, post, batch)
        self._found: GpuDetections = self._post or PlanDetections(*self._outputs)
        self._graph: cuda_ops.Graph | None = None

    def compute(self) -> None:
        """Queue network and post-processing of the batch's current content."""
        self._plan.queue(self._device.stream)
        self.postprocess()

    def postprocess(self) -> None:
        """Queue what is behind the plan's last outputs, if anything is."""
        if self._post is None:
            return
        pointers = [buffer.ptr for buffer in self._outputs]
        levels = len(pointers) // 2
        self._post.launch(pointers[:levels], pointers[levels:])

    def capture(self) -> None:
        """Run once, so that everything is loaded, and record that run as a CUDA graph.

        A plan with a layer that cannot be captured is queued anew for each launch.
        """
        self._device.zero(self._input)
        self.compute()
        self._device.synchronize()
        try:
            self._graph = self._device.capture(self.compute)
        except RuntimeError:
            self._graph = None
        self._device.synchronize()

    def run(self) -> None:
        """Queue the graph; without one, queue what it would hold."""
        if self._graph is None:
            self.compute()
        else:
            self._graph.launch()

    def launch(self, pictures: Sequence[cuda_ops.GpuPicture], results: PinnedDetections) -> None:
        """Queue everything for a batch of pictures, up to the copy of their detections."""
        self._prep.launch(pictures, self._input.ptr)
        self.run()
        results.download(self._found)

    def outputs(self) -> list[NDArray[np.float32]]:
        """Return the network's last outputs; no launch may be running."""
        arrays = [self._device.pinned(shape, np.float32) for shape in self._shapes]
        for array, buffer in zip(arrays, self._outputs, strict=True):
            self._device.download(array, buffer.ptr)
        self._device.synchronize()
        return arrays

    def close(self) -> None:
        """Free the graph."""
        if self._graph is not None:
            self._graph.close()


def _postprocess(
    device: cuda_ops.Device, about: ExportedModel, post: Postprocessing, batch: int
) -> cuda_ops.Postprocess:
    """Prepare decoding and suppression of a plan's raw outputs."""
    return cuda_ops.Postprocess(
        device,
        [cuda_ops.Level(v.height, v.width, v.stride, v.anchors) for v in about.levels],
        batch=batch,
        classes=about.classes,
        threshold=post.threshold,
        top_n=post.top_n,
        nms=post.nms,
        detections=post.detections,
        dtype="float32",
        logits=False,
        channels_last=False,
        rotated=post.rotated_nms if about.rotated else None,
    )
