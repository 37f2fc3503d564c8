"""Reads the header of a JPEG file, to tell whether a GPU decodes it as libjpeg does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN = 0xDA
# Baseline, extended sequential and progressive, with Huffman codes.
_PLAIN_FRAMES = (0xC0, 0xC1, 0xC2)
# SOF0 to SOF15 without the tables DHT, JPG and DAC that lie between them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Sampling factors whose chroma libjpeg interpolates in the way that nvJPEG's does: 4:4:4, 4:2:2
# and 4:2:0. Bytes of horizontal * 16 + vertical, luma first.
_SAMPLINGS = (b"\x11\x11\x11", b"\x21\x11\x11", b"\x22\x11\x11")
# libjpeg interpolates chroma only where it has more than two columns, and repeats it in narrower
# pictures (jdsample.c), which an H200's JPEG engine interpolates too: up to 9 of 255 apart.
_LEAST_WIDTH = 5
# Frames of lossless coding (SOF3, 7, 11, 15) and of hierarchies (SOF5 to 7, 13 to 15).
_NOT_PLAIN = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF))


@dataclass(frozen=True)
class JpegHeader:
    """The facts about a file that a GPU decoder depends on.

    Attributes:
        width: pixels, before any EXIF orientation.
        height: likewise.
        exif: the EXIF metadata, which may hold an orientation; empty without.
        xmp: whether there is XMP metadata with an orientation.
    """

    width: int
    height: int
    exif: bytes
    xmp: bool = False


@dataclass(frozen=True)
class JpegFrame:
    """The kind of a JPEG.

    Attributes:
        precision: bits of a sample.
        lossless: whether it is lossless or hierarchical.
    """

    precision: int
    lossless: bool


def frame_of(head: bytes) -> JpegFrame | None:
    """Read which kind of JPEG the first bytes of a file begin; None if they do not say it."""
    for marker, body in _segments(head):
        if marker in _FRAMES and body:
            return JpegFrame(body[0], marker in _NOT_PLAIN)
    return None


def read_plain_header(data: bytes) -> JpegHeader | None:
    """Read the header of a whole 8-bit gray or YCbCr JPEG; None for any other file.

    Also None for pictures of less than 5 columns whose chroma is subsampled: libjpeg expands it in
    another way than GPUs do.

    A file that does not end with its end marker may be cut, and a GPU decoder would not say so.
    Colour follows libjpeg: three components are YCbCr unless an Adobe segment or the components'
    names say that they are RGB. Source: ITU-T T.81, annex B; libjpeg's `default_decompress_parms`.

    Args:
        data: the file.
    """
    if not (data.startswith(_START) and data.endswith(_END)):
        return None
    header: JpegHeader | None = None
    exif, xmp, rgb = b"", False, False
    for marker, body in _segments(data):
        if marker in _FRAMES:
            if header is not None or marker not in _PLAIN_FRAMES:
                return None
            header = _plain_frame(body)
            if header is None:
                return None
        elif marker == 0xE1 and body.startswith(b"Exif\0"):
            exif = body
        elif marker == 0xE1 and b"tiff:Orientation" in body:
            xmp = True
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            rgb = body[11] == 0
    if header is None or rgb:
        return None
    return JpegHeader(header.width, header.height, exif, xmp)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield markers and bodies up to the first scan; nothing if the file breaks off before."""
    found: list[tuple[int, bytes]] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:  # no segment: not expected here
            return
        if marker == _SCAN:
            yield from found
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2:
            return
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length


def _plain_frame(body: bytes) -> JpegHeader | None:
    """Parse a frame header: precision, height, width, components of (name, sampling, table)."""
    if len(body) < 6 or body[0] != 8 or len(body) != 6 + 3 * body[5]:
        return None
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    names, samplings = body[6::3], body[7::3]
    gray = body[5] == 1
    colour = body[5] == 3 and samplings in _SAMPLINGS and names != b"RGB"
    if colour and samplings != _SAMPLINGS[0] and width < _LEAST_WIDTH:
        return None
    if not (gray or colour) or not (width and height):
        return None
    return JpegHeader(width, height, b"")
