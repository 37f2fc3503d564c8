"""Resize, normalise and pad on the GPU, bit for bit as `odtk_ray.images.resize.resize` resizes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cuda_ops.device import Device

# preprocess.cu.
_MAX_PICTURES = 32
_TILE_W, _TILE_H = 128, 32
_BLOCK = (96, 4, 1)
_PRECISION = 22

_ARENA = 16 << 20  # bytes of coefficients: 800 pairs of usual sizes
_ALIGNMENT = 64

Layout = Literal["CHW", "HWC", "HWC4"]
_PIXEL_STEPS = {"CHW": 1, "HWC": 3, "HWC4": 4}  # from a pixel's first value to the next one's

_pointer = ctypes.c_void_p


class _Axis(ctypes.Structure):
    _fields_ = (
        ("starts", _pointer),
        ("counts", _pointer),
        ("coefficients", _pointer),
        ("taps", ctypes.c_int),
        ("size", ctypes.c_int),
    )


class _Picture(ctypes.Structure):
    _fields_ = (
        ("pixels", _pointer),
        ("pitch", ctypes.c_longlong),
        ("horizontal", _Axis),
        ("vertical", _Axis),
    )


class _PreprocessArgs(ctypes.Structure):
    _fields_ = (
        ("pictures", _Picture * _MAX_PICTURES),
        ("levels", _pointer),
        ("out", _pointer),
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("pixel_step", ctypes.c_int),
    )


@dataclass(frozen=True)
class GpuPicture:
    """A decoded picture in device memory: uint8 RGB, interleaved.

    Attributes:
        ptr: address of its first pixel.
        height: pixels.
        width: pixels.
        pitch: bytes from one row to the next.
        new_height: pixels after resizing, at most the batch tensor's.
        new_width: likewise.
    """

    ptr: int
    height: int
    width: int
    pitch: int
    new_height: int
    new_width: int


@dataclass(frozen=True)
class Coefficients:
    """The resize coefficients of one axis; see `resize_coefficients`.

    Attributes:
        starts: int32 [new], the first input of each output.
        counts: int32 [new], how many inputs it is made of.
        values: int32 [new, taps], their coefficients, 0 behind the last.
    """

    starts: NDArray[np.int32]
    counts: NDArray[np.int32]
    values: NDArray[np.int32]

    def packed(self) -> NDArray[np.int32]:
        """Concatenate all three arrays."""
        return np.concatenate([self.starts, self.counts, self.values.ravel()])


def resize_coefficients(size: int, new_size: int) -> Coefficients:
    """Compute Pillow's bilinear coefficients, as docs/architecture.md states them.

    Output i is clip((2^21 + sum of values[i, k] * input[starts[i] + k]) >> 22) to 0..255.

    Args:
        size: pixels of the input along the axis, at least 1.
        new_size: pixels of the output, at least 1.
    """
    scale = size / new_size
    support = max(scale, 1.0)
    centre = (np.arange(new_size) + 0.5) * scale
    starts = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    counts = np.minimum((centre + support + 0.5).astype(np.int64), size) - starts
    taps = np.arange(counts.max())
    # The same order of operations as Pillow's, since every one of them is rounded.
    distance = (taps + starts[:, None] - centre[:, None] + 0.5) * (1.0 / support)
    weights = np.maximum(1.0 - np.abs(distance), 0.0)
    weights[taps >= counts[:, None]] = 0.0
    total = np.add.accumulate(weights, axis=1)[:, -1:]  # one after the other, not pairwise
    values = (0.5 + weights / total * (1 << _PRECISION)).astype(np.int32)
    values[taps >= counts[:, None]] = 0
    return Coefficients(starts.astype(np.int32), counts.astype(np.int32), values)


class Preprocess:
    """Fills a batch tensor from decoded pictures of any size.

    Args:
        device: whose thread this is.
        batch: B, slots of the tensor.
        shape: (H, W) of the tensor in pixels.
        dtype: of the tensor.
        layout: of its memory: [B, 3, H, W], [B, H, W, 3], or [B, H, W, 4] with a zero behind each
            pixel's colours.
        levels: float32 [3, 256], what each pixel value of the three channels, RGB, becomes; it is
            rounded to `dtype`.

    Raises:
        CudaUnavailable: the kernel cannot be compiled.
    """

    def __init__(
        self,
        device: Device,
        *,
        batch: int,
        shape: tuple[int, int],
        dtype: Literal["float16", "float32"],
        layout: Layout,
        levels: NDArray[np.float32],
    ) -> None:
        self._kernel = device.kernel("preprocess", f"preprocess_{dtype}", _PreprocessArgs)
        self._batch = batch
        self._shape = shape
        values = (4 if layout == "HWC4" else 3) * shape[0] * shape[1]
        self._slot_bytes = values * np.dtype(dtype).itemsize
        table = levels.astype(dtype)
        self._levels = device.alloc(table.nbytes)
        device.upload(self._levels.ptr, table)
        device.synchronize()
        self._tables = _Tables(device, _ARENA)
        self._args = _PreprocessArgs(
            levels=self._levels.ptr,
            height=shape[0],
            width=shape[1],
            pixel_step=_PIXEL_STEPS[layout],
        )

    def launch(self, pictures: Sequence[GpuPicture], out_ptr: int) -> None:
        """Resize, normalise and pad; padding and slots without a picture become 0.

        Args:
            pictures: at most B.
            out_ptr: the tensor, aligned to 16 bytes; all of it is written.

        Raises:
            ValueError: too many pictures, or one that does not fit in the tensor.
        """
        self._check(pictures)
        self._tables.hold(_axes(pictures))
        height, width = self._shape
        tiles = (-(-width // _TILE_W), -(-height // _TILE_H))
        for start in range(0, self._batch, _MAX_PICTURES):
            slots = min(_MAX_PICTURES, self._batch - start)
            for slot in range(slots):
                there = start + slot < len(pictures)
                self._args.pictures[slot] = (
                    self._describe(pictures[start + slot]) if there else _Picture()
                )
            self._args.out = out_ptr + start * self._slot_bytes
            self._kernel.launch((*tiles, slots), _BLOCK, self._args)

    def _check(self, pictures: Sequence[GpuPicture]) -> None:
        height, width = self._shape
        if len(pictures) > self._batch:
            raise ValueError(f"{len(pictures)} pictures are too many for {self._batch} slots")
        for picture in pictures:
            if not (0 < picture.new_height <= height and 0 < picture.new_width <= width):
                raise ValueError(
                    f"{picture.new_width}x{picture.new_height} does not fit in {width}x{height}"
                )
            if min(picture.height, picture.width) < 1:
                raise ValueError("a picture without pixels cannot be resized")

    def _describe(self, picture: GpuPicture) -> _Picture:
        return _Picture(
            pixels=picture.ptr,
            pitch=picture.pitch,
            horizontal=self._tables[picture.width, picture.new_width],
            vertical=self._tables[picture.height, picture.new_height],
        )


def _axes(pictures: Iterable[GpuPicture]) -> set[tuple[int, int]]:
    return {
        axis
        for picture in pictures
        for axis in ((picture.width, picture.new_width), (picture.height, picture.new_height))
    }


class _Tables:
    """Coefficients in device memory, by (size, new size), kept from launch to launch.

    They are written once to page-locked memory and copied from there on the stream. When the memory
    is full, the stream is waited for and all are dropped.

    Args:
        device: whose thread this is.
        nbytes: device memory to begin with; it grows where one launch needs more.
    """

    def __init__(self, device: Device, nbytes: int) -> None:
        self._device = device
        self._tables: dict[tuple[int, int], _Axis] = {}
        self._used = 0
        self._allocate(nbytes)

    def __getitem__(self, axis: tuple[int, int]) -> _Axis:
        return self._tables[axis]

    def hold(self, axes: set[tuple[int, int]]) -> None:
        """Keep the tables of these axes in device memory, all at once, until the next call."""
        missing = {axis: resize_coefficients(*axis) for axis in axes - self._tables.keys()}
        if self._used + _room(missing.values()) > self._buffer.nbytes:
            self._device.synchronize()
            self._tables.clear()
            self._used = 0
            missing = {axis: resize_coefficients(*axis) for axis in axes}
            if (needed := _room(missing.values())) > self._buffer.nbytes:
                self._allocate(needed)
        for axis, table in missing.items():
            self._add(axis, table)

    def _allocate(self, nbytes: int) -> None:
        self._buffer = self._device.alloc(nbytes)
        self._staging = self._device.pinned(nbytes // 4, np.int32)

    def _add(self, axis: tuple[int, int], table: Coefficients) -> None:
        packed = table.packed()
        staged = self._staging[self._used // 4 :][: len(packed)]
        staged[:] = packed
        ptr = self._buffer.ptr + self._used
        self._device.upload(ptr, staged)
        new_size = axis[1]
        self._tables[axis] = _Axis(
            starts=ptr,
            counts=ptr + 4 * new_size,
            coefficients=ptr + 8 * new_size,
            taps=table.values.shape[1],
            size=new_size,
        )
        self._used += _room([table])


def _room(tables: Iterable[Coefficients]) -> int:
    """Return the bytes of device memory that the tables take."""
    return sum(-(-table.packed().nbytes // _ALIGNMENT) * _ALIGNMENT for table in tables)
