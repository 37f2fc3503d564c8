"""The JPEG header reader: which files it gives to the GPU, and that it agrees with Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic import picture

from odtk_ray.images.exif import block_orientation
from odtk_ray.images.jpeg_header import JpegHeader, read_plain_header


def jpeg(width=33, height=17, mode="RGB", **options) -> bytes:
    buffer = io.BytesIO()
    picture(1, width, height).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """The file with one more segment behind its start marker."""
    return data[:2] + bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


@examples(60)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    gray=st.booleans(),
    progressive=st.booleans(),
    subsampling=st.sampled_from([0, 1, 2]),
    comment=st.binary(max_size=200),
)
def test_it_reads_the_size_that_pillow_reads(
    width, height, gray, progressive, subsampling, comment
):
    options = {"progressive": progressive, "subsampling": subsampling, "comment": comment}
    data = jpeg(width, height, "L" if gray else "RGB", **options)
    assert Image.open(io.BytesIO(data)).size == (width, height)
    narrow = width < 5 and subsampling and not gray
    assert read_plain_header(data) == (None if narrow else JpegHeader(width, height, exif=b""))


@pytest.mark.parametrize("subsampling", [1, 2])
@pytest.mark.parametrize("height", [1, 2, 31])
def test_it_leaves_to_pillow_the_widths_at_which_libjpeg_repeats_chroma(subsampling, height):
    """Chroma of noise comes in equal pairs of columns where it is repeated, not interpolated."""
    noise = np.random.default_rng(subsampling).integers(0, 256, (height, 40, 3), dtype=np.uint8)
    for width in range(2, 12):
        buffer = io.BytesIO()
        options = {"quality": 100, "subsampling": subsampling}
        Image.fromarray(noise[:, :width]).save(buffer, "JPEG", **options)
        image = Image.open(buffer)
        image.draft("YCbCr", image.size)
        assert image.mode == "YCbCr"
        chroma = np.asarray(image)[..., 1:]
        even = width // 2 * 2
        repeated = np.array_equal(chroma[:, 0:even:2], chroma[:, 1:even:2])
        assert (read_plain_header(buffer.getvalue()) is None) == repeated


@examples(200)
@given(cut=st.floats(0, 1), tail=st.sampled_from([b"", b"\xff\xd9"]), junk=st.binary(max_size=8))
def test_no_damage_makes_it_raise_or_invent_a_size(cut, tail, junk):
    data = jpeg(120, 90)
    damaged = data[: int(cut * len(data))] + junk + tail
    header = read_plain_header(damaged)
    assert header is None or (header.width, header.height) == (120, 90)


@pytest.mark.parametrize("cut", [1, 2, 3, 50, 500])
def test_a_file_without_its_end_marker_is_left_to_pillow(cut):
    assert read_plain_header(jpeg(200, 100)[:-cut]) is None


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\xff\xd8\xff\xd9", "no frame"),
        (jpeg(mode="CMYK"), "four components"),
        (jpeg(keep_rgb=True), "RGB components"),
        (with_segment(jpeg(), 0xEE, b"Adobe" + bytes(7)), "Adobe says RGB"),
        (jpeg().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), "12 bits"),
        (jpeg().replace(b"\xff\xc0\x00", b"\xff\xc9\x00"), "arithmetic coding"),
        (jpeg().replace(b"\x08\x00\x11\x00\x21\x03", b"\x08\x00\x00\x00\x21\x03"), "height later"),
        (jpeg().replace(b"\x01\x22\x00", b"\x01\x41\x00"), "4:1:0 chroma"),
        (b"GIF89a" + jpeg(), "no JPEG"),
    ],
)
def test_what_is_not_plain_is_left_to_pillow(data, why):
    assert read_plain_header(data) is None, why


def test_adobe_that_says_ycc_is_plain():
    data = with_segment(jpeg(), 0xEE, b"Adobe" + bytes(6) + b"\x01")
    assert read_plain_header(data) == JpegHeader(33, 17, exif=b"")


def test_a_thumbnail_in_the_metadata_is_not_the_picture():
    block = b"Exif\0\0" + jpeg(8, 8)
    data = with_segment(jpeg(), 0xE1, block)
    assert read_plain_header(data) == JpegHeader(33, 17, exif=block)
    assert block_orientation(block) == 1
    torn = data[: data.rindex(b"\xff\xda")]  # ends in the middle, after a whole thumbnail
    assert read_plain_header(torn) is None


def test_exif_is_noticed():
    exif = Image.Exif()
    exif[0x0112] = 6
    header = read_plain_header(jpeg(exif=exif))
    assert header == JpegHeader(33, 17, exif=exif.tobytes())
    assert block_orientation(header.exif) == 6


def test_random_bytes_are_no_jpeg():
    rng = np.random.default_rng(0)
    for _ in range(200):
        body = rng.integers(0, 256, 200, dtype=np.uint8).tobytes()
        assert read_plain_header(b"\xff\xd8" + body + b"\xff\xd9") is None
