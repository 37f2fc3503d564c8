"""The end of a narrow bottleneck of a ResNet: the last convolution and the shortcut in one pass."""

from __future__ import annotations

import ctypes

from cuda_ops.device import Device

# bottleneck.cu.
_INNER = 64
_THREADS = 256
_TILE_ROWS = 16
_TILES = 2

_BLOCKS = 8192  # that many keep every GPU busy; each of them takes tiles in turn
_LEAST_CAPABILITY = (8, 0)  # the products of matrices are not in older GPUs

_pointer = ctypes.c_void_p


class _BottleneckArgs(ctypes.Structure):
    _fields_ = (
        ("x", _pointer),
        ("weight", _pointer),
        ("bias", _pointer),
        ("shortcut", _pointer),
        ("shortcut_weight", _pointer),
        ("out", _pointer),
        ("rows", ctypes.c_longlong),
        ("columns", ctypes.c_int),
    )


class BottleneckEnd:
    """relu(x W' + shortcut + bias) of float16 rows, the pixels of channels_last tensors.

    Sums are float32, rounded once at the end. A row's result depends on that row alone.

    Args:
        device: whose thread this is.

    Raises:
        CudaUnavailable: the kernels cannot be compiled.
    """

    def __init__(self, device: Device) -> None:
        self._capability = device.capability
        self._add = device.kernel("bottleneck", "bottleneck_add", _BottleneckArgs)
        self._project = device.kernel("bottleneck", "bottleneck_project", _BottleneckArgs)

    def fits(self, inner: int, columns: int) -> bool:
        """Return whether the GPU and these widths, of x and of the result, are served."""
        at_once = inner == _INNER and columns > 0 and columns % _THREADS == 0
        return at_once and self._capability >= _LEAST_CAPABILITY

    def launch(
        self,
        x: int,
        weight: int,
        bias: int,
        shortcut: int,
        out: int,
        rows: int,
        columns: int,
        shortcut_weight: int | None = None,
    ) -> None:
        """Queue one block's end.

        Args:
            x: pointer to [rows, 64].
            weight: pointer to [columns, 64].
            bias: pointer to [columns]; with `shortcut_weight` the sum of both biases.
            shortcut: pointer to [rows, columns], or to [rows, 64] with `shortcut_weight`.
            out: pointer to [rows, columns].
            rows: pixels of the whole batch.
            columns: a multiple of 256.
            shortcut_weight: pointer to [columns, 64], where the shortcut is a convolution of 1x1.
        """
        args = _BottleneckArgs(x, weight, bias, shortcut, shortcut_weight, out, rows, columns)
        kernel, tiles = (self._add, _TILES) if shortcut_weight is None else (self._project, 1)
        blocks = min(-(-rows // (_TILE_ROWS * tiles)), _BLOCKS)
        kernel.launch((blocks, columns // _THREADS, 1), (_THREADS, 1, 1), args)
