"""Loads image files into GPU memory as decoded pictures.

Reader threads call `read_pending`; what the GPU's JPEG decoder does not take is decoded there, by
Pillow. The thread that owns the GPU hands batches of sources to a `GpuLoader`. Resizing comes
later, on the GPU (`cuda_ops.Preprocess`).
"""

from __future__ import annotations

import queue
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cuda_ops
from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import Decoded, decode, decode_image, orientation
from odtk_ray.images.exif import block_orientation
from odtk_ray.images.jpeg_header import JpegHeader, read_plain_header
from odtk_ray.images.nvimagecodec import JpegDecoder, JpegKind
from odtk_ray.images.resize import network_size
from odtk_ray.records import PLAIN, Traits
from odtk_ray.settings import Decoder, Preprocessing

# Kernels read pictures from addresses of at least this alignment.
_ALIGNMENT = 256


@dataclass(frozen=True)
class PendingPicture:
    """A picture that is not on the GPU yet: a JPEG file or decoded pixels.

    Attributes:
        content: the file of a JPEG that the GPU decodes, or decoded pixels, uint8 [h, w, 3], RGB.
        width: decoded width in pixels.
        height: decoded height in pixels.
        size: (width, height) in pixels after resizing, before padding.
        ratio: net / img, the scale of both axes before the sides were truncated to integers.
        traits: what the pixels do not show.
    """

    content: bytes | NDArray[np.uint8]
    width: int
    height: int
    size: tuple[int, int]
    ratio: float
    traits: Traits = PLAIN

    @property
    def on_gpu(self) -> bool:
        """Whether the GPU decodes it."""
        return isinstance(self.content, bytes)


def read_pending(data: bytes | Decoded, prep: Preprocessing, decoder: Decoder) -> PendingPicture:
    """Read an image file, and decode it unless the GPU can.

    A JPEG that its EXIF orientation turns is decoded here, where turning is Pillow's.

    Args:
        data: the file, or what it holds.
        prep: how pictures become network input.
        decoder: `cpu` decodes every file here.

    Raises:
        ImageError: the image cannot be decoded or a resized side would be 0 pixels long.
    """
    if not isinstance(data, bytes):
        return _decoded(data, prep)
    header = read_plain_header(data) if decoder == "gpu" else None
    if header is not None:
        applied = prep.exif == "apply"
        may_turn = bool(header.exif) or header.xmp
        turned = applied and may_turn and orientation(data) != 1
        if not turned and header.width * header.height <= prep.max_pixels:
            traits = PLAIN if applied or not may_turn else Traits(_ignored(header, data))
            return _source(data, header.width, header.height, prep, traits)
    return _decoded(decode(data, prep), prep)


def _ignored(header: JpegHeader, data: bytes) -> int:
    """Read the orientation of a JPEG that is not turned by it."""
    return orientation(data) if header.xmp else block_orientation(header.exif)


def _decoded(image: Decoded, prep: Preprocessing) -> PendingPicture:
    height, width = image.pixels.shape[:2]
    return _source(np.ascontiguousarray(image.pixels), width, height, prep, image.traits)


def _source(
    content: bytes | NDArray[np.uint8],
    width: int,
    height: int,
    prep: Preprocessing,
    traits: Traits = PLAIN,
) -> PendingPicture:
    new_w, new_h, ratio = network_size(width, height, prep)
    return PendingPicture(content, width, height, (new_w, new_h), ratio, traits)


@dataclass
class Loaded:
    """A batch in GPU memory; the memory lives as long as this object.

    Attributes:
        pictures: for each source its decoded pixels, or why there are none.
        by_pillow: for each source whether the CPU decoded it.
    """

    pictures: list[cuda_ops.GpuPicture | ImageError]
    by_pillow: list[bool]
    images: list[Any] = field(default_factory=list)
    staging: _Staging | None = None


class GpuLoader:
    """Decodes and uploads batches on a stream of its own, beside the network's work.

    Belongs to the thread that makes it, except `give_back`.

    Args:
        prep: how pictures become network input.
        jpeg: kinds of GPU decoders for plain JPEGs, the best first; empty for none.
        threads: CPU threads of the JPEG decoder.
        index: the GPU.
    """

    def __init__(
        self, prep: Preprocessing, jpeg: Sequence[JpegKind], *, threads: int, index: int = 0
    ) -> None:
        self._prep = prep
        self._decoder: Decoder = "gpu" if jpeg else "cpu"
        self._device = cuda_ops.Device(index)
        self._jpeg = JpegDecoder(self._device, threads, jpeg) if jpeg else None
        self._free: queue.SimpleQueue[_Staging] = queue.SimpleQueue()
        self._retired: queue.SimpleQueue[Loaded] = queue.SimpleQueue()
        # Whether closed or forgotten, the parts are freed in the one order that works.
        self._end = weakref.finalize(self, _free_in_order, self._retired, self._jpeg, self._device)
        self._end.atexit = False  # another thread's GPU; the process takes everything with it

    @property
    def key(self) -> str:
        """The decoder, its version and kind."""
        return self._jpeg.key if self._jpeg else "pillow"

    def read(self, data: bytes | Decoded) -> PendingPicture:
        """Read an image file, and decode it unless the GPU will; any thread may call this.

        Args:
            data: the file, or what it holds.

        Raises:
            ImageError: the file cannot be used.
        """
        return read_pending(data, self._prep, self._decoder)

    def load(self, sources: Sequence[PendingPicture]) -> Loaded:
        """Load pictures into GPU memory; return when they are there.

        Args:
            sources: at most one launch of them.
        """
        self._release_retired()
        batch = Loaded(
            [ImageError("not decoded")] * len(sources),
            [self._jpeg is not None and not source.on_gpu for source in sources],
        )
        host: dict[int, NDArray[np.uint8]] = {}
        files: dict[int, bytes] = {}
        for slot, source in enumerate(sources):
            if isinstance(source.content, bytes):
                files[slot] = source.content
            else:
                host[slot] = source.content
        if files and self._jpeg is not None:
            images = self._jpeg.decode(list(files.values()))
            for (slot, data), image in zip(files.items(), images, strict=True):
                picture = _picture(image, sources[slot])
                if picture is not None:
                    batch.images.append(image)
                    batch.pictures[slot] = picture
                    continue
                batch.by_pillow[slot] = True
                try:
                    host[slot] = self._by_pillow(data, sources[slot])
                except ImageError as error:
                    batch.pictures[slot] = error
        if host:
            self._upload(host, sources, batch)
        self._device.synchronize()
        return batch

    def give_back(self, batch: Loaded) -> None:
        """Say that a batch is not read any more; any thread may call this."""
        self._retired.put(batch)

    def close(self) -> None:
        """Free everything; each batch must have been given back."""
        self._end()

    def _release_retired(self) -> None:
        while not self._retired.empty():
            batch = self._retired.get()
            batch.images.clear()
            if batch.staging is not None:
                self._free.put(batch.staging)
                batch.staging = None

    def _by_pillow(self, data: bytes, source: PendingPicture) -> NDArray[np.uint8]:
        """Decode a file that the GPU's decoder declined."""
        pixels = np.ascontiguousarray(decode_image(data, self._prep))
        if pixels.shape[:2] != (source.height, source.width):
            raise ImageError("the image cannot be decoded: its header names another size")
        return pixels

    def _upload(
        self, host: dict[int, NDArray[np.uint8]], sources: Sequence[PendingPicture], batch: Loaded
    ) -> None:
        starts = np.cumsum([0, *(-(-p.nbytes // _ALIGNMENT) * _ALIGNMENT for p in host.values())])
        staging = _Staging(self._device) if self._free.empty() else self._free.get()
        staging.reserve(int(starts[-1]))
        batch.staging = staging
        for start, (slot, pixels) in zip(starts[:-1].tolist(), host.items(), strict=True):
            staging.pinned[start : start + pixels.nbytes] = pixels.reshape(-1)
            batch.pictures[slot] = _gpu_picture(
                staging.buffer.ptr + start, 3 * pixels.shape[1], sources[slot]
            )
        self._device.upload(staging.buffer.ptr, staging.pinned[: int(starts[-1])])


class _Staging:
    """Page-locked memory and as much on the GPU, for one batch of decoded pixels."""

    def __init__(self, device: cuda_ops.Device) -> None:
        self._device = device
        self._bytes = 0
        self.pinned: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.buffer = device.alloc(0)

    def reserve(self, nbytes: int) -> None:
        """Make room; grows by half at least, since allocations wait for the GPU."""
        if nbytes <= self._bytes:
            return
        self.buffer.free()
        self._bytes = max(nbytes, self._bytes * 3 // 2)
        self.pinned = self._device.pinned((self._bytes,), np.uint8)
        self.buffer = self._device.alloc(self._bytes)


def _free_in_order(
    retired: queue.SimpleQueue[Loaded], jpeg: JpegDecoder | None, device: cuda_ops.Device
) -> None:
    """Free pictures, then the decoder: both use the stream, which is freed last."""
    device.synchronize()
    while not retired.empty():
        retired.get().images.clear()
    if jpeg is not None:
        jpeg.close()
    device.close()


def _picture(image: Any, source: PendingPicture) -> cuda_ops.GpuPicture | None:
    """Return the pixels of nvImageCodec's image; None if they differ from the header."""
    if image is None or tuple(image.shape) != (source.height, source.width, 3):
        return None
    array = image.__cuda_array_interface__
    pitch = array["strides"][0] if array.get("strides") else 3 * source.width
    return _gpu_picture(array["data"][0], pitch, source)


def _gpu_picture(pointer: int, pitch: int, source: PendingPicture) -> cuda_ops.GpuPicture:
    new_w, new_h = source.size
    return cuda_ops.GpuPicture(pointer, source.height, source.width, pitch, new_h, new_w)
