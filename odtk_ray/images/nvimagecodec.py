"""Decodes batches of JPEG files into GPU memory, with nvImageCodec."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, Literal

import cuda_ops
from odtk_ray.jetson import jetson_release

JpegKind = Literal["hardware", "hybrid"]

# The GPU's own JPEG engine comes first: on an H200 it decodes 24,000 pictures a second within one
# step of Pillow's pixels; Huffman codes on the CPU and the rest on CUDA cores gave 4,000 and three.
JPEG_KINDS: tuple[JpegKind, ...] = ("hardware", "hybrid")
_BACKENDS = {"hardware": "HW_GPU_ONLY", "hybrid": "HYBRID_CPU_GPU"}

# Large enough for every decoder: some leave small pictures to others.
_PROBE_SIZE = (640, 480)

# What nvImageCodec prints where libraries of formats that are not JPEG are missing.
_FOREIGN = re.compile(rb"nv-?(jpeg2k|jpeg2000|tiff)", re.IGNORECASE)


class DecoderUnavailable(Exception):  # noqa: N818 - a state of the machine, not a failure
    """The GPU decodes no JPEG; the message says why in one sentence."""


class JpegDecoder:
    """nvImageCodec's JPEG decoder with one kind of its backends; belongs to one thread.

    Args:
        device: on whose stream decoded pictures are ready.
        threads: CPU threads.
        kinds: of backends; the first that decodes a picture is taken.

    Attributes:
        key: name, version and kind, such as `nvimgcodec-0.9.0-hardware`.

    Raises:
        DecoderUnavailable: nvImageCodec is not installed, or no kind of it works on this GPU.
    """

    def __init__(
        self, device: cuda_ops.Device, threads: int, kinds: Sequence[JpegKind] = JPEG_KINDS
    ) -> None:
        self._codec = import_codec()
        self._device = device
        self._decoder: Any = None
        self._params = self._codec.DecodeParams(
            apply_exif_orientation=False, color_spec=self._codec.ColorSpec.SRGB
        )
        reasons = []
        for kind in kinds:
            try:
                self._open_decoder(kind, threads)
            except RuntimeError as error:
                reasons.append(f"{kind}: {error}")
                continue
            self.key = f"nvimgcodec-{self._codec.__version__}-{kind}"
            return
        raise DecoderUnavailable(f"nvImageCodec decodes no JPEG here ({'; '.join(reasons)})")

    def decode(self, files: Sequence[bytes]) -> list[Any]:
        """Decode files into GPU memory, in order; None for a file that it does not decode.

        Images are freed on the device's stream: let go of them before `close`.
        """
        streams = [self._open(data) for data in files]
        known = [stream for stream in streams if stream is not None]
        if not known:
            return [None] * len(files)
        decoded = iter(
            self._decoder.decode(known, params=self._params, cuda_stream=self._device.stream)
        )
        return [None if stream is None else next(decoded) for stream in streams]

    def close(self) -> None:
        """Free the decoder; the device must still exist."""
        self._device.synchronize()
        self._decoder = None

    def _open_decoder(self, kind: JpegKind, threads: int) -> None:
        backend = self._codec.Backend(getattr(self._codec.BackendKind, _BACKENDS[kind]))
        # The decoder of the last kind, if there was one, goes first.
        self._decoder = None
        self._decoder = self._codec.Decoder(
            device_id=self._device.index, max_num_cpu_threads=threads, backends=[backend]
        )
        (image,) = self.decode([_probe_file()])
        self._device.synchronize()
        if image is None:
            source = "JetPack's CUDA" if _on_jetpack_6() else "nvidia-nvjpeg"
            raise RuntimeError(f"it decodes no picture (is {source} installed?)")

    def _open(self, data: bytes) -> Any:
        try:
            return self._codec.CodeStream(data)
        except Exception:  # whatever the reason, Pillow tries next
            return None


def _probe_file() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", _PROBE_SIZE).save(buffer, "JPEG")
    return buffer.getvalue()


def import_codec() -> ModuleType:
    """Import nvImageCodec, whichever of its packages is installed.

    Raises:
        DecoderUnavailable: none is, or it cannot be loaded.
    """
    try:
        with hold_lines(_FOREIGN):
            from nvidia import nvimgcodec
    except ImportError as error:
        package = "tegra-cu12" if _on_jetpack_6() else "cu13[nvjpeg]"
        raise DecoderUnavailable(
            f"nvImageCodec cannot be imported ({error}): pip install 'nvidia-nvimgcodec-{package}'"
        ) from error
    codec: ModuleType = nvimgcodec
    return codec


def _on_jetpack_6() -> bool:
    """Return whether this is a Jetson with CUDA 12, which has an nvImageCodec of its own.

    With CUDA 13, from release 38 on, it takes that of servers.
    """
    release = jetson_release()
    return release is not None and release < 38


@contextlib.contextmanager
def hold_lines(pattern: re.Pattern[bytes]) -> Iterator[None]:
    """Keep lines that match from standard error, whoever in this process writes them.

    Libraries in C++ write to the file descriptor. Other lines appear when the block is left.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not pattern.search(line):
                    os.write(2, line)
