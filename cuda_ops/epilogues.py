"""What follows convolutions and is no part of their kernels, in one pass over the memory each."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Literal

from cuda_ops.device import Device

_THREADS = 256  # epilogues.cu
_VECTOR = 16  # bytes
_BYTES = {"float16": 2, "float32": 4}

_pointer, _int = ctypes.c_void_p, ctypes.c_int
_SIZES = (("height", _int), ("width", _int), ("vectors", _int))


class _BiasArgs(ctypes.Structure):
    _fields_ = (
        ("values", _pointer),
        ("bias", _pointer),
        ("above", _pointer),
        *_SIZES,
        ("limit", ctypes.c_float),
    )


class _PoolArgs(ctypes.Structure):
    _fields_ = (("values", _pointer), ("out", _pointer), ("bias", _pointer), *_SIZES)


class Epilogues:
    """Kernels on tensors of one type in channels_last memory, [B, H, W, C]; C fills whole vectors.

    Every step is rounded to the type, so that results are those of the steps one after the other.

    Args:
        device: whose thread this is.
        dtype: of all tensors.

    Raises:
        CudaUnavailable: the kernels cannot be compiled.
    """

    def __init__(self, device: Device, dtype: Literal["float16", "float32"]) -> None:
        self._add = device.kernel("epilogues", f"add_bias_{dtype}", _BiasArgs)
        self._pool = device.kernel("epilogues", f"pool_{dtype}", _PoolArgs)
        self._in_vector = _VECTOR // _BYTES[dtype]

    def fits(self, channels: int) -> bool:
        """Return whether tensors of so many channels can be given."""
        return channels % self._in_vector == 0

    def add_bias(
        self,
        values: int,
        bias: int,
        shape: Sequence[int],
        *,
        above: int | None = None,
        limit: float | None = None,
    ) -> None:
        """Queue values + bias + above, in place, pixels of `above` repeated in both directions.

        Args:
            values: pointer to [B, H, W, C].
            bias: pointer to [C].
            shape: B, C, H, W.
            above: pointer to [B, H / 2, W / 2, C], for even H and W; None to add only the bias.
            limit: of a ReLU that follows, 6 for ReLU6 and infinity for ReLU; None for none.
        """
        batch, channels, height, width = shape
        if above is not None and (height % 2 or width % 2):
            raise ValueError(f"{height}x{width} is not twice the size of a level above")
        vectors = self._vectors(channels)
        args = _BiasArgs(
            values, bias, above, height, width, vectors, -1.0 if limit is None else limit
        )
        blocks = -(-width * vectors // _THREADS)
        self._add.launch((blocks, height, batch), (_THREADS, 1, 1), args)

    def pool(self, values: int, bias: int, out: int, shape: Sequence[int]) -> None:
        """Queue relu(max + bias) over windows of 3x3 in steps of 2, padded by 1.

        Args:
            values: pointer to [B, H, W, C].
            bias: pointer to [C].
            out: pointer to [B, (H + 1) / 2, (W + 1) / 2, C], rounded down.
            shape: B, C, H, W of the values.
        """
        batch, channels, height, width = shape
        vectors = self._vectors(channels)
        args = _PoolArgs(values, out, bias, height, width, vectors)
        blocks = -(-((width + 1) // 2) * vectors // _THREADS)
        self._pool.launch((blocks, (height + 1) // 2, batch), (_THREADS, 1, 1), args)

    def _vectors(self, channels: int) -> int:
        if not self.fits(channels):
            raise ValueError(f"{channels} channels do not fill vectors of {self._in_vector}")
        return channels // self._in_vector
