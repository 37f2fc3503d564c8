"""Intersection over union of rotated boxes on the GPU, as `odtk_ray.ops.rotated` defines it."""

from __future__ import annotations

from cuda_ops.arguments import IouArgs
from cuda_ops.device import Device

_THREADS = 256  # iou.cu


class RotatedIou:
    """The IoU of paired rotated boxes, in float32, as suppression finds it.

    Args:
        device: whose thread this is.

    Raises:
        CudaUnavailable: the kernel cannot be compiled.
    """

    def __init__(self, device: Device) -> None:
        self._kernel = device.kernel("iou", "rotated_iou_pairs", IouArgs)

    def launch(self, boxes1: int, boxes2: int, out: int, count: int) -> None:
        """Queue the computation of all pairs.

        Args:
            boxes1: pointer to float32 [N, 6], (x1, y1, x2, y2, sin, cos), aligned to 8 bytes.
            boxes2: pointer to as many others.
            out: pointer to float32 [N], which is written: in [0, 1], and 0 for boxes that have no
                area, are inverted or are not finite.
            count: N, at least 1.
        """
        args = IouArgs(boxes1=boxes1, boxes2=boxes2, ious=out, count=count)
        self._kernel.launch((-(-count // _THREADS), 1, 1), (_THREADS, 1, 1), args)
