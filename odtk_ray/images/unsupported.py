"""Why a file is no image that Pillow opens: kinds of files that are met in folders of images."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

from PIL import TiffImagePlugin

from odtk_ray.images.jpeg_header import frame_of

# Of HEIC, by brand (ISO 23008-12, annex B), and of AVIF, both in ISO's media container.
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"\0\5\x16\7", "not an image: what macOS stores beside a file (AppleDouble)"),
    (b"\0\5\x16\0", "not an image: what macOS stores beside a file (AppleDouble)"),
    (b"<!doctype html", "not an image: a web page"),
    (b"<html", "not an image: a web page"),
)
DAMAGED = "not an image, or its header is damaged"

# Bytes from which on a file is decoded from storage instead of being read whole. No JPEG of 178
# megapixels has as many.
LARGE_FILE = 128 << 20
# Bytes of a JPEG in which its frame header lies, behind a thumbnail and a colour profile.
_HEAD = 1 << 20

# TIFF 6.0: tags, and what their values are called.
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _FORMAT = 258, 259, 262, 277, 339
_COLOURS = {0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr"}
_FORMATS = {1: "unsigned", 2: "signed", 3: "float"}


def is_heic(head: bytes) -> bool:
    """Return whether a file is HEIC, by its first 12 bytes."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC


def why_too_large(stream: BinaryIO) -> str:
    """Say why a large file is not even opened; empty for all that Pillow opens by its first bytes.

    It reads WebP and AVIF whole, and searches JPEG and GIF byte by byte for their pictures: minutes
    in some GB of junk.

    Args:
        stream: seekable; left at its start.
    """
    large = stream.seek(0, os.SEEK_END) > LARGE_FILE
    stream.seek(0)
    if not large:
        return ""
    head = stream.read(_HEAD)
    stream.seek(0)
    if head.startswith(b"RIFF") or (head[4:8] == b"ftyp" and head[8:12] in _AVIF):
        return f"WebP and AVIF files of more than {LARGE_FILE >> 20} MiB are not supported"
    lost_jpeg = head.startswith(b"\xff\xd8") and frame_of(head) is None
    return DAMAGED if lost_jpeg or (head.startswith(b"GIF8") and not _has_block(head)) else ""


def _has_block(head: bytes) -> bool:
    """Return whether a GIF's palette is followed by a picture or an extension (GIF89a, 18)."""
    palette = 3 << (1 + (head[10] & 7)) if head[10] & 0x80 else 0
    return head[13 + palette] in b"!,"


def why_unsupported(stream: BinaryIO) -> str:
    """Say in one clause why a file cannot be opened; empty if it is of no kind that is known here.

    Args:
        stream: seekable; of a file that Pillow does not open.
    """
    stream.seek(0)
    head = stream.read(_HEAD)
    if not head:
        return "the file is empty (0 bytes)"
    if is_heic(head):
        return "HEIC is not supported: convert it to JPEG or PNG"
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF:
        return "this AVIF cannot be opened: it is damaged, or Pillow is older than 11.3"
    for start, reason in _STARTS:
        if head[: len(start)].lower() == start:
            return reason
    if head.startswith(b"\xff\xd8"):
        return _of_jpeg(head)
    return _of_tiff(stream) if head[:2] in (b"II", b"MM") else ""


def sample_kind(tags: Mapping[int, Any]) -> str:
    """Return what samples a TIFF has, such as "signed 16-bit"."""
    return f"{_FORMATS.get(_first(tags, _FORMAT), 'other')} {_first(tags, _BITS)}-bit"


def _of_jpeg(head: bytes) -> str:
    frame = frame_of(head)
    if frame is None:
        return ""
    if frame.lossless:
        return "lossless and hierarchical JPEGs are not supported"
    bits = frame.precision
    return f"JPEGs with {bits} bits a sample are not supported, only with 8" if bits != 8 else ""


def _of_tiff(stream: BinaryIO) -> str:
    stream.seek(0)
    try:
        TiffImagePlugin.TiffImageFile(stream)
    except SyntaxError as error:  # a plugin's way to say that it does not know a file
        unknown_mode = "unknown pixel mode" in str(error)
    except Exception:
        return ""
    else:
        return ""
    with contextlib.suppress(Exception):  # whatever damaged bytes lead to
        stream.seek(0)
        tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(8))
        stream.seek(tags.next)
        tags.load(stream)
        compression = _first(tags, _COMPRESSION)
        if compression not in TiffImagePlugin.COMPRESSION_INFO:
            return f"TIFFs with compression {compression} are not supported"
        if unknown_mode:
            colour = _first(tags, _PHOTOMETRIC, 0)
            samples = f"{_first(tags, _SAMPLES)} {sample_kind(tags)} samples a pixel"
            return f"TIFFs with {samples}, {_COLOURS.get(colour, colour)}, are not supported"
    return ""


def _first(tags: Mapping[int, Any], tag: int, default: int = 1) -> int:
    """Return a tag's first value; TIFF's own default for the tags that are read here is 1."""
    value = tags.get(tag, default)
    return int(value[0] if isinstance(value, tuple) else value)
