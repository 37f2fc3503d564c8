"""Parts of pictures are the same, whether the picture is decoded as a whole or by segments."""

import io
import struct
import tempfile
from types import SimpleNamespace

import numpy as np
import PIL
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin
from synthetic import picture
from tiled_tiff import tiled_tiff

from odtk_ray.detect.tiling import cut_windows
from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import decode_image, load, open_image
from odtk_ray.images.windows import TiffWindows, open_windowed, read_reduced
from odtk_ray.settings import Preprocessing

SMALL = Preprocessing(max_pixels=30_000)


def tiff(mode, compression, rows=32):
    image = picture(1, 300, 210)
    if mode == "I;16":
        gray = np.asarray(image.convert("L")).astype(np.uint16) * 256
        image = Image.fromarray(gray)
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, "TIFF", compression=compression, tiffinfo={278: rows})
    return buffer.getvalue()


def windows_of(data, prep=SMALL):
    stream = io.BytesIO(data)
    return TiffWindows(stream, open_image(stream), prep)


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        (mode, compression)
        for mode in ("RGB", "L", "P", "RGBA", "I;16", "CMYK")
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        if compression != "jpeg" or mode not in ("P", "I;16")  # JPEG has no such pixels
    ],
)
def test_strips(mode, compression):
    data = tiff(mode, compression)
    whole = decode_image(data, Preprocessing())
    found = windows_of(data)
    assert (found.width, found.height) == (300, 210)
    for x, y, w, h in ((17, 23, 200, 150), (0, 0, 300, 210), (299, 209, 1, 1), (0, 31, 5, 2)):
        np.testing.assert_array_equal(found.read(x, y, w, h), whole[y : y + h, x : x + w])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
def test_tiles(order, deflate):
    pixels = np.asarray(picture(2, 205, 150))
    data = tiled_tiff(pixels, 64, order, deflate)
    np.testing.assert_array_equal(decode_image(data, Preprocessing()), pixels)
    found = windows_of(data, Preprocessing(max_pixels=64 * 64))
    for x, y, w, h in ((0, 0, 205, 150), (60, 60, 10, 10), (204, 149, 1, 1), (3, 70, 190, 64)):
        np.testing.assert_array_equal(found.read(x, y, w, h), pixels[y : y + h, x : x + w])


@pytest.mark.parametrize("deflate", [False, True])
def test_tiles_that_are_left_out_are_black(tmp_path, deflate):
    pixels = np.array(picture(2, 205, 150))
    pixels[:, 64:150] = 0  # two of three tiles that end there, but for the last column
    data = tiled_tiff(pixels, 64, deflate=deflate, sparse=True)
    with pytest.raises(ImageError, match="with empty parts left out"):
        decode_image(data, Preprocessing())
    (tmp_path / "sparse.tif").write_bytes(data)
    found = open_windowed(str(tmp_path / "sparse.tif"), Preprocessing())
    assert 0 in found._bytes
    np.testing.assert_array_equal(found.read(0, 0, 205, 150), pixels)


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 1200),
    limit=st.integers(1, 40_000),
    seed=st.integers(0, 9),
)
@examples(60)
def test_pictures_are_made_smaller_by_the_least_factor(width, height, limit, seed):
    whole = picture(seed, width, height)
    stream = io.BytesIO()
    whole.save(stream, "PNG")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(stream.getvalue())
        file.flush()
        smaller, factor = read_reduced(open_windowed(file.name, Preprocessing()), limit)
    fits = [n for n in range(1, 1300) if -(-width // n) * -(-height // n) <= limit]
    assert factor == fits[0]
    np.testing.assert_array_equal(smaller, whole.reduce(factor))


@pytest.mark.parametrize(("photometric", "colour"), [(0, 255), (1, 0)])
def test_parts_left_out_are_zeros_which_may_be_white(photometric, colour):
    tags = {256: 300, 257: 210, 258: 16, 259: 1, 262: photometric, 273: 0, 277: 1, 278: 210, 279: 0}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    found = windows_of(data, Preprocessing())
    assert (found.read(0, 0, 300, 210) == colour).all()


@given(x=st.integers(0, 299), y=st.integers(0, 209), w=st.integers(1, 300), h=st.integers(1, 210))
@examples(40)
def test_any_window(x, y, w, h):
    w, h = min(w, 300 - x), min(h, 210 - y)
    expected = np.asarray(picture(1, 300, 210))[y : y + h, x : x + w]
    np.testing.assert_array_equal(windows_of(tiff("RGB", "tiff_lzw", 7)).read(x, y, w, h), expected)


def test_only_what_is_needed_is_kept(monkeypatch):
    monkeypatch.setattr("odtk_ray.images.windows._CACHE", 300 * 32 * 3 * 2)
    found = windows_of(tiff("RGB", "tiff_lzw"))
    found.read(0, 0, 300, 210)
    assert len(found._cache) == 2


@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("tile", [20, 64, 65])
def test_each_segment_is_decoded_once_for_a_row_of_windows(monkeypatch, strips, tile):
    decoded = []

    def counted(data, prep):
        decoded.append(data)
        return load(data, prep)

    monkeypatch.setattr("odtk_ray.images.windows.load", counted)
    pixels = np.asarray(picture(1, 300, 210))
    data = tiff("RGB", "tiff_lzw", 7) if strips else tiled_tiff(pixels, 32)
    found = windows_of(data, Preprocessing(max_pixels=30_000, tile=tile))
    down = found._size[1]
    rows = {}
    for x, y, w, h in cut_windows(300, 210, tile, 5):
        np.testing.assert_array_equal(found.read(x, y, w, h), pixels[y : y + h, x : x + w])
        rows[y] = (y + h - 1) // down - y // down + 1
    across = -(-300 // found._size[0])
    assert len(decoded) <= across * sum(rows.values())


def test_files(tmp_path, monkeypatch):
    monkeypatch.setattr("odtk_ray.images.windows.LARGE", 50_000)
    monkeypatch.setattr("odtk_ray.images.windows._SEGMENT", 50_000)
    pixels = np.asarray(picture(1, 300, 210))
    (tmp_path / "large.tif").write_bytes(tiff("RGB", "tiff_lzw"))
    (tmp_path / "one.tif").write_bytes(tiff("RGB", "tiff_lzw", rows=210))
    turned = {"tiffinfo": {278: 32, 274: 3}}
    Image.fromarray(pixels[::-1, ::-1]).save(tmp_path / "turned.tif", **turned)
    Image.fromarray(pixels[:100]).save(tmp_path / "small.tif")
    Image.fromarray(pixels).save(tmp_path / "large.png")
    tiny = Preprocessing(max_pixels=300 * 32)
    for name, prep, by_windows in (
        ("large.tif", tiny, True),
        ("large.tif", Preprocessing(), True),
        ("one.tif", Preprocessing(), False),
        ("turned.tif", Preprocessing(), False),
        ("small.tif", Preprocessing(), False),
        ("large.png", Preprocessing(), False),
    ):
        found = open_windowed(str(tmp_path / name), prep)
        assert isinstance(found, TiffWindows) == by_windows, name
        np.testing.assert_array_equal(found.read(10, 20, 30, 40), pixels[20:60, 10:40])
    for name, message in (
        ("large.png", "too large: 300x210 is more than the limit"),
        ("one.tif", "its segments of 300x210 pixels are too"),
        ("turned.tif", "stored rotated"),
    ):
        with pytest.raises(ImageError, match=message):
            open_windowed(str(tmp_path / name), tiny)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "I;16", "CMYK"])
@pytest.mark.parametrize("rows", [210, 50, 7])
def test_uncompressed_strips_are_read_by_rows(mode, rows):
    data = tiff(mode, None, rows)
    whole = decode_image(data, Preprocessing())
    found = windows_of(data, Preprocessing(max_pixels=300 * 11))
    np.testing.assert_array_equal(found.read(3, 1, 290, 205), whole[1:206, 3:293])


@pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="Pillow 13 decodes such TIFFs, none before"
)
def test_uncompressed_ycbcr_is_read_by_its_strips():
    data = tiff("YCbCr", None, 50)
    whole = decode_image(data, Preprocessing())
    found = windows_of(data)
    np.testing.assert_array_equal(found.read(3, 1, 290, 205), whole[1:206, 3:293])
    with pytest.raises(ImageError, match="its segments of 300x50 pixels are too"):
        windows_of(data, Preprocessing(max_pixels=300 * 11))


def test_strips_that_are_not_where_rows_would_be_stay_as_they_are():
    """Two of them are stored in the other's place: their offsets do not rise."""
    strips = [bytes([k]) * 300 * 70 * 3 for k in range(3)]
    offsets = [8 + 300 * 70 * 3 * k for k in (1, 0, 2)]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in ((256, 300), (257, 210), (258, (8, 8, 8)), (259, 1), (262, 2), (277, 3)):
        tags[tag] = value
    tags[273], tags[278], tags[279] = tuple(offsets), 70, (300 * 70 * 3,) * 3
    image = SimpleNamespace(size=(300, 210), tag_v2=tags)
    stream = io.BytesIO(b"x" * 8 + b"".join(strips))
    found = TiffWindows(stream, image, Preprocessing())
    assert found.read(0, 0, 300, 210)[::70, 0, 0].tolist() == [1, 0, 2]


def test_layouts_that_cannot_be_read_by_windows():
    with pytest.raises(ImageError, match="its segments of 300x210 pixels are too"):
        windows_of(tiff("RGB", "tiff_lzw", rows=210))
    turned = io.BytesIO()
    picture(1, 300, 210).save(turned, "TIFF", tiffinfo={278: 32, 274: 6})
    with pytest.raises(ImageError, match="stored rotated"):
        windows_of(turned.getvalue())


def test_a_damaged_segment_is_an_image_error():
    data = bytearray(tiff("RGB", "tiff_lzw"))
    found = windows_of(bytes(data))
    start = found._offsets[3]
    data[start : start + found._bytes[3]] = b"\xff" * found._bytes[3]
    broken = windows_of(bytes(data))
    broken.read(0, 0, 300, 90)
    with pytest.raises(ImageError):
        broken.read(0, 100, 10, 10)
