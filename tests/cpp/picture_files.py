"""Picture files of many kinds, whole and damaged, and what Python makes of them."""

import io
import itertools
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import decode_image
from odtk_ray.settings import Preprocessing

PHOTOGRAPHS = sorted((Path(__file__).parents[2] / "odtk_ray" / "assets").glob("*.jpg"))
MOST_PIXELS = 1 << 20

# Odd sizes, and sides around a block of 8 and 16 pixels.
SIZES = ((1, 1), (2, 3), (3, 2), (7, 9), (8, 8), (16, 17), (33, 15), (61, 47))
# A PNG's bits of a sample, and samples of a pixel, by its type of colour.
KINDS = {0: ((1, 2, 4, 8, 16), 1), 2: ((8, 16), 3), 3: ((1, 2, 4, 8), 1), 4: ((8, 16), 2)}
KINDS[6] = ((8, 16), 4)


def scene(size, mode="RGB", seed=0):
    """A picture of smooth and sharp parts."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[:height, :width]
    smooth = [128 + 100 * np.sin(x / (3 + i) + y / (5 - i) + i) for i in range(len(mode))]
    pixels = np.stack(smooth, axis=-1) + rng.normal(0, 8, (height, width, len(mode)))
    pixels[height // 3 :, : width // 2] = rng.integers(0, 256, len(mode))
    return Image.frombytes(mode, size, np.clip(pixels, 0, 255).astype(np.uint8).tobytes())


def jpegs():
    """JPEGs of all samplings, modes and codings."""
    choices = itertools.product((10, 50, 75, 92, 100), (0, 1, 2), (False, True), SIZES)
    for number, (quality, sampling, progressive, size) in enumerate(choices):
        options = {"quality": quality, "subsampling": sampling, "progressive": progressive}
        options |= [{}, {"optimize": True}, {"restart_marker_blocks": 3}][number % 3]
        yield saved(scene(size, seed=number), **options)
    for number, (mode, size) in enumerate(itertools.product(("L", "CMYK"), SIZES)):
        for progressive in (False, True):
            yield saved(scene(size, mode, number), quality=80, progressive=progressive)
    for size in SIZES:
        yield saved(scene(size), keep_rgb=True)
        yield upright(saved(scene(size), subsampling=1))
    yield from (path.read_bytes() for path in PHOTOGRAPHS)


def saved(picture, kind="JPEG", **options):
    """The bytes of a picture as a file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def upright(jpeg):
    """A 4:2:2 JPEG as 4:4:0, its sides exchanged: the blocks are the same, in another place."""
    at = jpeg.index(b"\xff\xc0\x00\x11") + 5
    height, width, rest = jpeg[at : at + 2], jpeg[at + 2 : at + 4], jpeg[at + 4 :]
    return jpeg[:at] + width + height + rest.replace(b"\x01\x21\x00", b"\x01\x12\x00", 1)


def chunk(kind, body, checksum=None):
    """A chunk of a PNG."""
    total = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", total)


# Adam7: the first column and row of each pass, and the steps.
PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def png_parts(size, colour, bits, interlaced=False, filters=(0, 1, 2, 3, 4), seed=0):
    """IHDR's data, and random rows with their filters in front: any rows are a picture."""
    rng = np.random.default_rng(seed)
    width, height = size
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    rows = []
    for x, y, step_x, step_y in PASSES if interlaced else [(0, 0, 1, 1)]:
        columns = len(range(x, width, step_x))
        length = -(-columns * bits * KINDS[colour][1] // 8)
        for _ in range(len(range(y, height, step_y)) if columns else 0):
            rows.append(bytes([rng.choice(filters)]) + rng.bytes(length))
    return header, b"".join(rows)


def png(header, data, before=b"", behind=b"", piece=None):
    """A PNG of its parts: chunks before and behind the pixels, which are cut into pieces."""
    packed = zlib.compress(data, 6)
    pieces = [
        packed[i : i + (piece or len(packed))] for i in range(0, len(packed), piece or 1 << 30)
    ]
    pixels = b"".join(chunk(b"IDAT", part) for part in pieces)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + before + pixels + behind + chunk(b"IEND", b"")


def palette(colours, seed=0):
    """PLTE."""
    return chunk(b"PLTE", np.random.default_rng(seed).bytes(3 * colours))


def pngs():
    """PNGs of all kinds."""
    number = 0
    for colour, (depths, _) in KINDS.items():
        for bits, interlaced, size in itertools.product(depths, (False, True), SIZES):
            number += 1
            colours = palette(1 << bits, number) if colour == 3 else b""
            parts = png_parts(size, colour, bits, interlaced, seed=number)
            yield png(*parts, before=colours, piece=(None, 7, 100)[number % 3])
    yield from odd_pngs()


def odd_pngs():
    """PNGs that are whole, with parts that matter little or are unusual."""
    gray, colour = png_parts((9, 5), 0, 8), png_parts((9, 5), 2, 8)
    indexed = png_parts((9, 5), 3, 8)
    for colours in (None, 0, 1, 100, 256):
        plte = palette(colours) if colours is not None else b""
        yield png(*indexed, before=plte)
        yield png(*indexed, before=plte + chunk(b"tRNS", b"\xff\x00\x80"))
    yield png(*gray, before=chunk(b"tRNS", b"\0\7") + chunk(b"gAMA", struct.pack(">I", 45455)))
    yield png(*colour, before=palette(3) + chunk(b"tRNS", b"\0\7\0\7\0\7"))
    yield png(*colour, before=chunk(b"tEXt", b"Title\0words"), behind=chunk(b"zTXt", b"a\0\0no"))
    yield png(*colour, behind=chunk(b"eXIf", b"nonsense"))
    for kind in (b"tEXt", b"gAMA", b"pHYs", b"iCCP", b"prIv", b"iTXt", b"zTXt", b"sRGB"):
        yield png(*gray, before=chunk(kind, b"", checksum=1))
        yield png(*gray, before=chunk(kind, b"x"), behind=chunk(kind, b""))
    whole = png(*gray, piece=9)
    second = whole.index(b"IDAT", whole.index(b"IDAT") + 1) - 4
    yield whole[:second] + chunk(b"tEXt", b"a\0b") + whole[second:]
    header, rows = gray
    yield png(header, rows[:20])  # whole rows are black
    yield png(header, rows[:25])
    yield png(header, rows + b"more")


def damaged(files, seed=0, each=40):
    """Files cut off, and with some bytes changed."""
    rng = np.random.default_rng(seed)
    for data in files:
        for end in rng.integers(0, len(data), each):
            yield data[:end]
        for _ in range(each):
            changed = bytearray(data)
            for at in rng.integers(0, len(data), rng.integers(1, 5)):
                changed[at] = rng.integers(0, 256)
            yield bytes(changed)
        yield from (data[:-n] for n in range(1, 30) if n < len(data))


def fnv(pixels):
    """The hash that the unit `verdicts` prints."""
    value = 14695981039346656037
    for byte in pixels.tobytes():
        value = (value ^ byte) * 1099511628211 & (1 << 64) - 1
    return f"{value:016x}"


def write_all(folder, files):
    """Write files into a folder; return their paths."""
    paths = []
    for number, data in enumerate(files):
        paths.append(os.fspath(folder / f"{number:05}"))
        Path(paths[-1]).write_bytes(data)
    return paths


def python_verdict(data, exif="ignore"):
    """The line of the unit `verdicts`, from Python."""
    try:
        pixels = decode_image(data, Preprocessing(max_pixels=MOST_PIXELS, exif=exif))
    except ImageError as error:
        return f"! {error}"
    return f"{pixels.shape[1]}x{pixels.shape[0]} {fnv(pixels)}"
