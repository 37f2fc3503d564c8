"""CUDA kernels of the GPU path, launched through PyCUDA; `odtk_ray.ops` defines what they compute.

Importing needs neither a GPU nor PyCUDA; `Device` says why the kernels cannot be used. Memory is
passed as raw device pointers, so that the kernels serve a process with or without torch. All
objects belong to the thread that made them. Launches are asynchronous on the device's stream,
allocate nothing and wait for nothing.
"""

from cuda_ops.bottleneck import BottleneckEnd
from cuda_ops.compiler import CudaUnavailable
from cuda_ops.device import Buffer, Device, Event
from cuda_ops.epilogues import Epilogues
from cuda_ops.graph import Graph
from cuda_ops.postprocess import Level, Postprocess
from cuda_ops.preprocess import GpuPicture, Preprocess
from cuda_ops.rotated_iou import RotatedIou

__all__ = [
    "BottleneckEnd",
    "Buffer",
    "CudaUnavailable",
    "Device",
    "Epilogues",
    "Event",
    "GpuPicture",
    "Graph",
    "Level",
    "Postprocess",
    "Preprocess",
    "RotatedIou",
]
