"""Files that are no images, or too large to be held: known by their first bytes."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
from huge_headers import png_chunk, small_picture, tiff
from PIL import Image

from odtk_ray.errors import ImageError
from odtk_ray.images import image_file, unsupported
from odtk_ray.images.decode_image import decode_image, open_image, read_size
from odtk_ray.images.image_file import read_image_file
from odtk_ray.records import Traits
from odtk_ray.settings import Preprocessing

PREP = Preprocessing()
PICTURE = small_picture()
PIXELS = np.asarray(Image.open(io.BytesIO(PICTURE)))


@contextmanager
def at_most(count):
    """No more bytes than these are held at any time within."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < count
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "head",
    [b"", b"junk", PICTURE[:8], b"\xff\xd8\xff\xe0", b"II*\0\x08", b"GIF89a", b"P6 ", b"BM"],
)
def test_of_a_large_file_the_header_is_read_first(tmp_path, head):
    with open(tmp_path / "junk.png", "wb") as stream:
        stream.write(head)
        stream.truncate(3 << 30)
    with at_most(20 << 20), pytest.raises(ImageError, match=r"not an image|header"):
        read_image_file(str(tmp_path / "junk.png"), PREP)


@pytest.mark.parametrize("head", [b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypavif"])
def test_what_pillow_reads_whole_is_not_opened(tmp_path, head):
    with open(tmp_path / "junk.webp", "wb") as stream:
        stream.write(head)
        stream.truncate(3 << 30)
    with at_most(20 << 20), pytest.raises(ImageError, match="of more than 128 MiB are not"):
        read_image_file(str(tmp_path / "junk.webp"), PREP)


def test_a_large_image_is_decoded_from_its_file(tmp_path, monkeypatch):
    for module in (image_file, unsupported):
        monkeypatch.setattr(module, "LARGE_FILE", 100)
    (tmp_path / "a.png").write_bytes(PICTURE)
    np.testing.assert_array_equal(read_image_file(str(tmp_path / "a.png"), PREP).pixels, PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    assert read_image_file(str(tmp_path / "turned.png"), PREP).traits == Traits(6)
    (tmp_path / "b.png").write_bytes(PICTURE[:-600])
    with pytest.raises(ImageError, match="the image cannot be decoded"):
        read_image_file(str(tmp_path / "b.png"), PREP)
    monkeypatch.undo()
    assert read_image_file(str(tmp_path / "a.png"), PREP) == PICTURE


def test_storage_that_goes_away_is_no_bad_image():
    class Away(io.BytesIO):
        def read(self, *count):
            if self.tell() >= 100:
                raise OSError(5, "the server is away")
            return super().read(*count)

    with pytest.raises(OSError, match="the server is away"):
        decode_image(Away(PICTURE), PREP)


# ------------------------------------------------------------------------------------- metadata

MIB2 = zlib.compress(bytes(2 << 20))
METADATA = [
    ("text", png_chunk(b"zTXt", b"workflow\0\0" + MIB2)),
    ("XMP", png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + MIB2)),
    ("profile", png_chunk(b"iCCP", b"profile\0\0" + MIB2)),
    ("checksum", png_chunk(b"gAMA", bytes(4))[:-1] + b"!"),
    ("many", png_chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(1 << 19))) * 200),
]


@pytest.mark.parametrize("place", [33, -12], ids=["in front", "behind"])  # of the pixels
@pytest.mark.parametrize("chunk", [row[1] for row in METADATA], ids=[row[0] for row in METADATA])
def test_metadata_fail_no_png(chunk, place):
    data = PICTURE[:place] + chunk + PICTURE[place:]
    assert read_size(io.BytesIO(data), "ignore") == (32, 24)
    np.testing.assert_array_equal(decode_image(data, PREP), PIXELS)
    with pytest.raises(ImageError, match="truncated"):
        decode_image(PICTURE[:33] + chunk + PICTURE[33:400], PREP)


def test_a_png_keeps_its_orientation_without_its_metadata():
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", exif=exif)
    data = buffer.getvalue()[:33] + METADATA[0][1] + buffer.getvalue()[33:]
    turned = decode_image(data, Preprocessing(exif="apply"))
    np.testing.assert_array_equal(turned, np.rot90(PIXELS, -1))


# --------------------------------------------------------------------------------------- reasons


def jpeg_frame(marker, bits):
    """What comes before the first scan."""
    frame = bytes([bits, 0, 24, 0, 32, 1, 1, 0x11, 0])
    scan = b"\xff\xda\0\x08\1\1\0\0?\0"
    return b"\xff\xd8\xff" + bytes([marker]) + (2 + len(frame)).to_bytes(2, "big") + frame + scan


def samples(bits, form, colour):
    tags = {256: (32,), 257: (24,), 258: bits, 262: (colour,), 273: (600,), 277: (len(bits),)}
    return tiff(tags | {278: (24,), 279: (4000,), 339: form})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer, "
         "not the file itself: run `git lfs pull`"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC is not supported: convert it to JPEG or PNG"),
        (b"\0\0\0\x18ftypavif" + bytes(99), "this AVIF cannot be opened: it is damaged, or Pillow "
         "is older than 11.3"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "not an image: what macOS stores beside a file "
         "(AppleDouble)"),
        (b"<!DOCTYPE html>\n<title>404</title>", "not an image: a web page"),
        (jpeg_frame(0xC1, 12), "JPEGs with 12 bits a sample are not supported, only with 8"),
        (jpeg_frame(0xC3, 8), "the image cannot be decoded: lossless and hierarchical "
         "JPEGs are not supported"),
        (samples((16,), (2,), 1), "signed 16-bit samples are not supported"),
        (samples((16,) * 3, (1,) * 3, 1), "TIFFs with 3 unsigned 16-bit samples a pixel, "
         "BlackIsZero, are not supported"),
        (samples((16,) * 5, (1,) * 5, 1), "TIFFs with 5 unsigned 16-bit samples a pixel, "
         "BlackIsZero, are not supported"),
        (samples((32,) * 3, (3,) * 3, 2), "TIFFs with 3 float 32-bit samples a pixel, RGB, are "
         "not supported"),
        (tiff({256: (32,), 257: (24,), 259: (34712,)}), "TIFFs with compression 34712 are not "
         "supported"),
        (tiff({256: (32,)}), "not an image, or its header is damaged"),
    ],
)  # fmt: skip
def test_the_reason_is_honest(data, reason):
    with pytest.raises(ImageError) as caught:
        decode_image(data, PREP)
    assert str(caught.value) == reason


def test_a_look_at_the_header_leaves_the_rest(tmp_path):
    (tmp_path / "a.png").write_bytes(PICTURE)
    with open(tmp_path / "a.png", "rb") as stream, at_most(1 << 20):
        assert open_image(stream).size == (32, 24)
