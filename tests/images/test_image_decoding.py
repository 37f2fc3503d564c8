"""Decoding: files of every kind, damaged ones, orientation, threads, silence."""

import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import (
    _high_byte,
    decode_image,
    load_picture,
    read_header,
    read_size,
)
from odtk_ray.images.gpu_loader import read_pending
from odtk_ray.images.resize import resize
from odtk_ray.records import PLAIN, Traits
from odtk_ray.settings import Preprocessing

PREP = Preprocessing()
UPRIGHT = Preprocessing(exif="apply")
RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (30, 50, 3), dtype=np.uint8)  # 50 x 30 pixels
GRAY = NOISE[..., 0]
GRAY16 = RNG.integers(0, 65536, (30, 50), dtype=np.uint16)
ORIENTATION = 0x0112


def packed(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


def tiff(order, bits, strip, photometric=1):
    """A bare gray TIFF of 50 x 30 pixels; `strip` holds them as they stand in the file."""
    size, start = len(strip), 8 + 2 + 12 * 9 + 4
    tags = [(256, 50), (257, 30), (258, bits), (259, 1), (262, photometric), (273, start)]
    tags += [(277, 1), (278, 30), (279, size)]
    fields = b"".join(  # type 3 is a short, padded at its end, type 4 a long
        struct.pack(order + ("HHII" if tag == 279 else "HHIHxx"), tag, 3 + (tag == 279), 1, value)
        for tag, value in tags
    )
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + fields + bytes(4) + strip


# ---- decoding ----------------------------------------------------------------------------------

IMAGE = Image.fromarray(NOISE)
PALETTE = IMAGE.quantize(16)
PALETTE_RGB = np.asarray(PALETTE.convert("RGB"))
LA = Image.merge("LA", (Image.fromarray(GRAY), Image.fromarray(NOISE[..., 1])))
RGBA = Image.fromarray(np.dstack([NOISE, GRAY]))
CMYK = Image.merge("CMYK", RGBA.split())
BILEVEL = Image.fromarray(GRAY > 127)
HIGH = (GRAY16 >> 8).astype(np.uint8)
PGM16 = b"P5 %d %d 65535\n" % GRAY16.shape[::-1] + GRAY16.astype(">u2").tobytes()
WORDS12 = (GRAY16 >> 4).astype(np.uint32)  # 12 bits, packed two samples in three bytes
EVEN, ODD = WORDS12[:, 0::2], WORDS12[:, 1::2]
PACKED12 = np.stack([EVEN >> 4, (EVEN & 15) << 4 | ODD >> 8, ODD & 255], axis=-1)


def as_rgb(plane):
    return np.repeat(plane[..., None], 3, axis=2)


DECODED = {
    "png": (packed(IMAGE), NOISE),
    "bmp": (packed(IMAGE, "BMP"), NOISE),
    "ppm": (packed(IMAGE, "PPM"), NOISE),
    "tiff": (packed(IMAGE, "TIFF"), NOISE),
    "tiff lzw": (packed(IMAGE, "TIFF", compression="tiff_lzw"), NOISE),
    "webp lossless": (packed(IMAGE, "WEBP", lossless=True), NOISE),
    "jpeg 2000": (packed(IMAGE, "JPEG2000"), NOISE),
    "gray": (packed(Image.fromarray(GRAY)), as_rgb(GRAY)),
    "gray, one transparent": (packed(Image.fromarray(GRAY), transparency=9), as_rgb(GRAY)),
    "colour, one transparent": (packed(IMAGE, transparency=(1, 2, 3)), NOISE),
    "gray and alpha": (packed(LA), as_rgb(GRAY)),
    "colour and alpha": (packed(RGBA), NOISE),
    "bilevel": (packed(BILEVEL), as_rgb(np.where(GRAY > 127, 255, 0).astype(np.uint8))),
    "palette": (packed(PALETTE), PALETTE_RGB),
    "palette, one transparent": (packed(PALETTE, transparency=3), PALETTE_RGB),
    "palette, alpha table": (packed(PALETTE, transparency=bytes(range(16))), PALETTE_RGB),
    "cmyk tiff": (packed(CMYK, "TIFF"), np.asarray(CMYK.convert("RGB"))),
    "png 16 bit": (packed(Image.fromarray(GRAY16)), as_rgb(HIGH)),
    "pgm 16 bit": (PGM16, as_rgb(HIGH)),
    "tiff 16 bit": (tiff("<", 16, GRAY16.astype("<u2").tobytes()), as_rgb(HIGH)),
    "tiff 16 bit big-endian": (tiff(">", 16, GRAY16.astype(">u2").tobytes()), as_rgb(HIGH)),
    "tiff 16 bit, 0 is white": (tiff("<", 16, (~GRAY16).astype("<u2").tobytes(), 0), as_rgb(HIGH)),
    "tiff 8 bit, 0 is white": (tiff("<", 8, (~GRAY).tobytes(), 0), as_rgb(GRAY)),
    "tiff 12 bit": (tiff("<", 12, PACKED12.astype(np.uint8).tobytes()), as_rgb(HIGH)),
    "gif": (packed(PALETTE, "GIF"), PALETTE_RGB),
    "first of two frames": (
        packed(IMAGE, "TIFF", save_all=True, append_images=[ImageOps.invert(IMAGE)]),
        NOISE,
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DECODED)
def test_decode(name):
    data, expected = DECODED[name]
    pixels = decode_image(data, PREP)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (30, 50, 3)
    assert np.array_equal(pixels, expected)
    assert read_size(io.BytesIO(data), "ignore") == (50, 30)


@pytest.mark.parametrize(
    ("mode", "image"), [("RGB", IMAGE), ("L", IMAGE.convert("L")), ("CMYK", CMYK)]
)
def test_decode_jpeg_is_pillows(mode, image):
    data = packed(image, "JPEG")  # Pillow writes CMYK inverted, with Adobe's marker
    stored = Image.open(io.BytesIO(data))
    assert stored.mode == mode
    assert np.array_equal(decode_image(data, PREP), np.asarray(stored.convert("RGB")))
    assert np.abs(decode_image(data, PREP).mean() - np.asarray(image.convert("RGB")).mean()) < 4


def test_16_bit_gray_is_not_clipped_to_white():
    ramp = (np.arange(50 * 30, dtype=np.uint16) * 43).reshape(30, 50)  # 0 .. 64457
    pixels = decode_image(packed(Image.fromarray(ramp)), PREP)
    assert pixels.min() == 0
    assert pixels.max() == 64457 >> 8
    assert len(np.unique(pixels)) == 252  # every high byte from 0 to 251


def test_16_bit_png_opened_as_32_bit():
    """As Pillow did before version 11."""
    image = Image.fromarray(GRAY16.astype(np.int32))
    assert image.mode == "I"
    assert np.array_equal(np.asarray(_high_byte(image)[0]), HIGH)


FLOATS = Image.fromarray(NOISE[..., 0].astype(np.float32))
BAD_FILES = [
    ("empty", b"", "empty"),
    ("text", b"not an image, just a line of text\n" * 40, "not an image"),
    ("one byte", b"\xff", "not an image"),
    ("header of jpeg only", packed(IMAGE, "JPEG")[:30], "header cannot be read"),
    ("half a jpeg", packed(IMAGE, "JPEG")[:900], "truncated"),
    ("half a png", packed(IMAGE)[:2500], "truncated"),
    ("half a bmp", packed(IMAGE, "BMP")[:2500], "truncated"),
    ("float tiff", packed(FLOATS, "TIFF"), "float 32-bit samples are not supported"),
    (
        "int32 tiff",
        packed(Image.fromarray(GRAY16.astype(np.int32)), "TIFF"),
        "signed 32-bit samples are",
    ),
    ("postscript", packed(IMAGE, "EPS"), "not an image"),  # would start Ghostscript
]


@pytest.mark.parametrize(("data", "reason"), [row[1:] for row in BAD_FILES])
def test_decode_refuses(data, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        decode_image(data, PREP)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)  # no address: rows must be the same in every run


@pytest.mark.parametrize("data", [row[1] for row in BAD_FILES[:4]])
def test_read_size_refuses(data):
    with pytest.raises(ImageError):
        read_size(io.BytesIO(data), "ignore")


@pytest.mark.parametrize("policy", ["ignore", "apply"])
def test_read_size_reads_only_the_header(policy):
    stream = io.BytesIO(packed(IMAGE))
    assert read_size(stream, policy) == (50, 30)
    assert stream.tell() < 100  # of 4.6 kB


@pytest.mark.filterwarnings("error")  # Pillow's own limit would warn and then raise
def test_max_pixels_is_checked_before_decoding():
    header = packed(Image.new("1", (8, 8)))
    # IHDR: width and height stand at byte 16; its checksum, over type and data, at byte 29
    ihdr = b"IHDR" + struct.pack(">II", 30_000, 20_000) + header[24:29]
    data = header[:12] + ihdr + struct.pack(">I", zlib.crc32(ihdr)) + header[33:]
    assert read_size(io.BytesIO(data), "ignore") == (30_000, 20_000)
    with pytest.raises(ImageError, match="30000x20000 is more than the limit of 178000000 pixels"):
        decode_image(data, PREP)
    exact = Preprocessing(max_pixels=50 * 30)
    assert decode_image(DECODED["png"][0], exact).shape == (30, 50, 3)
    with pytest.raises(ImageError, match="too large: 50x30"):
        decode_image(DECODED["png"][0], Preprocessing(max_pixels=50 * 30 - 1))


# ---- orientation -------------------------------------------------------------------------------


def turned(orientation):
    """NumPy's reading of the EXIF table: what the viewer shows."""
    return {
        1: NOISE,
        2: NOISE[:, ::-1],
        3: NOISE[::-1, ::-1],
        4: NOISE[::-1],
        5: NOISE.swapaxes(0, 1),
        6: np.rot90(NOISE, -1),
        7: NOISE[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(NOISE),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_exif(form, orientation):
    data = packed(IMAGE, form, exif=exif(orientation), lossless=True)
    assert np.array_equal(decode_image(data, PREP), NOISE)
    assert read_size(io.BytesIO(data), "ignore") == (50, 30)
    expected = turned(orientation)
    assert np.array_equal(decode_image(data, UPRIGHT), expected)
    assert read_size(io.BytesIO(data), "apply") == expected.shape[1::-1]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_an_orientation_that_is_not_applied_is_told(form):
    data = packed(IMAGE, form, exif=exif(6))
    ignored = 1 if form == "TIFF" else 6  # that of TIFF is applied by Pillow
    assert load_picture(data, PREP).traits == Traits(ignored)
    assert load_picture(data, UPRIGHT).traits == PLAIN
    assert read_header(io.BytesIO(data)).orientation == ignored
    for decoder in ("cpu", "gpu"):
        assert read_pending(data, PREP, decoder).traits == Traits(ignored)
        assert read_pending(data, UPRIGHT, decoder).traits == PLAIN


def test_a_png_may_have_its_orientation_behind_its_pixels():
    data = packed(IMAGE, "PNG", exif=exif(6))
    start = data.index(b"eXIf") - 4
    stop = start + 12 + int.from_bytes(data[start : start + 4], "big")
    end = data.index(b"IEND") - 4
    late = data[:start] + data[stop:end] + data[start:stop] + data[end:]
    assert np.array_equal(decode_image(late, UPRIGHT), turned(6))
    assert load_picture(late, PREP).traits == Traits(6)


def test_an_orientation_in_xmp_is_read_with_both_decoders():
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = packed(IMAGE, "JPEG", xmp=xmp)
    for decoder in ("cpu", "gpu"):
        assert read_pending(data, PREP, decoder).traits == Traits(6)
        upright = read_pending(data, UPRIGHT, decoder)
        assert (upright.width, upright.height) == IMAGE.size[::-1]
        assert not upright.on_gpu
    assert read_pending(data, PREP, "gpu").on_gpu


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("tiff 16 bit", int(GRAY16.max())),
        ("tiff 16 bit, 0 is white", 65535 - int(GRAY16.min())),
        ("png 16 bit", int(GRAY16.max())),
        ("tiff 12 bit", None),
        ("gray", None),
    ],
)
def test_the_largest_16_bit_value_is_told(name, peak):
    assert load_picture(DECODED[name][0], PREP).traits == Traits(peak=peak)
    assert read_pending(DECODED[name][0], PREP, "gpu").traits == Traits(peak=peak)


@pytest.mark.parametrize("prep", [PREP, UPRIGHT])
def test_orientation_of_tiff_is_applied_once_and_always(prep):
    data = packed(IMAGE, "TIFF", tiffinfo={ORIENTATION: 6})
    assert np.array_equal(decode_image(data, prep), turned(6))
    assert read_size(io.BytesIO(data), prep.exif) == (30, 50)


def test_exif_of_16_bit_gray():
    data = packed(Image.fromarray(GRAY16), exif=exif(6))
    assert np.array_equal(decode_image(data, UPRIGHT), as_rgb(np.rot90(HIGH, -1)))


BAD_EXIF = [
    b"Exif\0\0this is not a TIFF header",
    b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0",
    exif(6)[:20],
    exif(0),
    exif(9),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # as the module does, but pytest undoes it
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", BAD_EXIF)
def test_broken_exif_means_upright(form, block):
    data = packed(IMAGE, form, exif=block)
    assert np.array_equal(decode_image(data, UPRIGHT), decode_image(packed(IMAGE, form), PREP))
    assert read_size(io.BytesIO(data), "apply") == (50, 30)


# ---- the whole way -----------------------------------------------------------------------------


def test_load_picture_is_decode_then_resize():
    picture = load_picture(packed(IMAGE, "JPEG", exif=exif(6)), UPRIGHT)
    assert (picture.width, picture.height) == (30, 50)
    assert picture.ratio == 1333 / 50  # 800 / 30 would make the long side 1333.33
    assert picture.pixels.shape == (1333, 799, 3)  # 26.66 * 30 = 799.8
    upright = decode_image(packed(IMAGE, "JPEG", exif=exif(6)), UPRIGHT)
    assert np.array_equal(picture.pixels, resize(upright, 799, 1333))


def test_load_picture_refuses_a_side_of_0_pixels():
    with pytest.raises(ImageError, match="0x1333"):
        load_picture(packed(Image.new("RGB", (1, 2000))), PREP)


def test_threads_agree():
    files = [data for data, _ in DECODED.values()] * 4
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda data: decode_image(data, PREP), files))
    expected = [pixels for _, pixels in DECODED.values()] * 4
    assert all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))


SILENT = """
import sys
from odtk_ray.records import PLAIN, Traits
from odtk_ray.settings import Preprocessing
from odtk_ray.images.decode_image import decode_image
from odtk_ray.errors import ImageError
for text in sys.stdin.read().split():
    try:
        decode_image(bytes.fromhex(text), Preprocessing(exif="apply"))
    except ImageError:
        pass
"""


def test_silence():
    """Nothing reaches the terminal, whatever the files hold."""
    files = [data for data, _ in DECODED.values()] + [row[1] for row in BAD_FILES]
    files += [packed(IMAGE, "JPEG", exif=block) for block in BAD_EXIF]
    lines = "\n".join(data.hex() for data in files)
    done = subprocess.run(
        [sys.executable, "-c", SILENT], input=lines, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr == ""
