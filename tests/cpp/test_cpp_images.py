"""Decoding and resizing, against Pillow as odtk_ray uses it."""

import itertools
import os
import struct
import zlib

import numpy as np
import picture_files
import pytest
from picture_files import MOST_PIXELS, PHOTOGRAPHS, chunk, png, png_parts, saved, scene
from PIL import Image

# Reasons that differ: Pillow reads a file twice where metadata are damaged, and quotes bytes.
LOOSE = ("broken PNG file", "truncated", "Truncated", "damaged", "when reading image file")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
FAILED = "! the image cannot be decoded: "


def verdicts(units, folder, files, exif="ignore", simd=False):
    """What C++ says of each file.

    Valgrind takes what libjpeg's vector instructions compute beyond the end of rows for mistakes;
    they are used without it, where `simd` says so.
    """
    paths = picture_files.write_all(folder, files)
    listed = "".join(f"{path}\n" for path in paths).encode()
    program = units
    if simd and units.machine == "x86_64":
        program = type(units)(units.machine, units.command[-1:])
    environment = os.environ if simd else {**os.environ, "JSIMD_FORCENONE": "1"}
    out = program("verdicts", MOST_PIXELS, exif, input=listed, env=environment)
    return out.decode(errors="replace").splitlines()


def compare(units, folder, files, simd=False, pixels=True):
    """Compare verdicts and pixels with Python's; return how many files could be decoded."""
    files = list(files)
    found = verdicts(units, folder, files, simd=simd)
    assert len(found) == len(files)
    for number, (data, line) in enumerate(zip(files, found, strict=True)):
        expected = picture_files.python_verdict(data)
        shown = line
        if not pixels and "!" not in (line[0], expected[0]):
            shown, expected = line.split()[0], expected.split()[0]  # the size
        if expected != shown:
            both_fail = expected[0] == line[0] == "!"
            alike = both_fail and any(word in line for word in LOOSE)
            assert alike, (number, expected, line)
    return sum(line[0] != "!" for line in found)


def compare_damaged(units, folder, files):
    """Compare damaged JPEGs with Python, and let valgrind watch what reads them.

    Their coefficients can be beyond all bounds, where libjpeg's instructions for other processors,
    and its plain code, compute other pixels.
    """
    files = list(files)
    if units.machine == "x86_64":
        compare(units, folder, files, simd=True)
    return compare(units, folder, files, pixels=False)


@pytest.mark.parametrize("simd", [False, True])
def test_jpegs_have_pillows_pixels(units, tmp_path, simd):
    files = list(picture_files.jpegs())
    assert compare(units, tmp_path, files, simd) == len(files) > 250


def test_pngs_have_pillows_pixels(units, tmp_path):
    files = list(picture_files.pngs())
    assert compare(units, tmp_path, files) >= len(files) - 2 > 250


@pytest.mark.parametrize("part", range(4))
def test_damaged_jpegs_are_judged_alike(units, tmp_path, part):
    files = list(picture_files.jpegs())[part : -len(PHOTOGRAPHS) : 24]
    # Where scans of a progressive JPEG are missing, libjpeg-turbo's versions smooth differently.
    whole = [data for data in files if b"\xff\xc2" not in data]
    compare_damaged(units, tmp_path, picture_files.damaged(whole, seed=part, each=15))


def test_cut_progressive_jpegs_are_judged_alike(units, tmp_path):
    data = saved(scene((61, 47)), progressive=True, restart_marker_blocks=3)
    compare(units, tmp_path, (data[:end] for end in range(0, len(data), 5)))


def test_damaged_scans_have_pillows_pixels(units, tmp_path):
    files = []
    for seed, (sampling, mode) in enumerate(itertools.product((0, 2), ("RGB", "CMYK", "L"))):
        colour = {"subsampling": sampling} if mode == "RGB" else {}
        data = saved(scene((150, 70), mode), restart_marker_blocks=seed, **colour)
        start = data.index(b"\xff\xda") + 14
        scans = picture_files.damaged([data[start:]], seed=seed, each=12)
        files += [data[:start] + scan for scan in scans]
    assert compare_damaged(units, tmp_path, files) > 50


@pytest.mark.parametrize("part", range(4))
def test_damaged_pngs_are_judged_alike(units, tmp_path, part):
    files = list(picture_files.pngs())[part::12]
    assert compare(units, tmp_path, picture_files.damaged(files, seed=part, each=12)) > 50


def test_pngs_are_judged_alike_at_every_cut(units, tmp_path):
    parts = png_parts((9, 5), 3, 4, interlaced=True)
    colours = picture_files.palette(16)
    behind = chunk(b"tEXt", b"a\0b") + chunk(b"eXIf", b"II") + chunk(b"tIME", b"1234567")
    data = png(*parts, before=colours + chunk(b"pHYs", bytes(9)), behind=behind, piece=20)
    compare(units, tmp_path, (data[:end] for end in range(len(data) + 1)))


def test_large_pictures_are_decoded_in_pieces(units, tmp_path):
    # Compressed data of more than the 64 KiB that are decoded at once.
    data = saved(Image.effect_noise((500, 400), 90).convert("RGB"), quality=95)
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    stored = saved(Image.fromarray(noise), "PNG")
    assert min(len(data), len(stored)) > 2 << 16
    cuts = [content[: 3 * len(content) // 4] for content in (data, stored)]
    assert compare(units, tmp_path, [data, stored, *cuts]) == 2


def tiff(order, tags):
    """A TIFF header and a directory of tags (tag, type, count, four bytes)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    entries = [struct.pack(f"{order}HHI", *tag[:3]) + tag[3] for tag in tags]
    return head + b"".join(entries) + bytes(4)


# Of the orientation: types and counts of a TIFF, right and wrong.
TYPES = ((1, 1), (2, 2), (3, 0), (3, 2), (6, 1), (7, 4), (9, 1), (11, 1), (99, 1))


def exif_blocks():
    """EXIF blocks: all orientations, of several types, among other tags, and damaged."""
    rng = np.random.default_rng(0)
    for order, value in itertools.product("<>", range(10)):
        short, long = struct.pack(f"{order}HH", value, 0), struct.pack(f"{order}I", value)
        yield tiff(order, [(274, 3, 1, short)])
        yield tiff(order, [(271, 2, 4, b"Me\0\0"), (282, 5, 1, long), (274, 4, 1, long)])
        for kind, count in (
            (1, 1),
            (2, 2),
            (3, 0),
            (3, 2),
            (6, 1),
            (7, 4),
            (9, 1),
            (11, 1),
            (99, 1),
        ):
            yield tiff(order, [(274, kind, count, short)])
    block = tiff(
        ">", [(271, 2, 9, b"\0\0\0\x05"), (274, 3, 1, b"\0\6\0\0"), (305, 3, 1, b"\0\1\0\0")]
    )
    for _ in range(150):
        changed = bytearray(block[: rng.integers(4, len(block) + 1)])
        changed[rng.integers(0, len(changed))] = rng.integers(0, 256)
        yield bytes(changed)


def with_segments(jpeg, *bodies):
    """A JPEG with APP1 segments."""
    segments = [b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies]
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def test_pictures_are_turned_as_exif_says(units, tmp_path):
    jpeg, parts, files = saved(scene((20, 9)), quality=90), png_parts((9, 5), 2, 8), []
    for number, block in enumerate(exif_blocks()):
        xmp = b'<a tiff:Orientation="%d"/>' % (number % 10)
        named = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        files.append(with_segments(jpeg, b"Exif\0\0" + block))
        files.append(with_segments(jpeg, b"Exif\0\0" + block[:9], named, b"Exif\0\0" + block[9:]))
        files.append(png(*parts, **{("before", "behind")[number % 2]: chunk(b"eXIf", block)}))
        text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        packed = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(xmp))
        digits = b"\nexif\n  %d\n" % len(block) + block.hex().encode() + b"\n"
        raw = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(digits))
        files += [
            png(*parts, before=text),
            png(*parts, behind=packed),
            png(*parts, before=raw + text),
        ]
    turned = compare_turned(units, tmp_path, files)
    assert turned > 300


def compare_turned(units, folder, files):
    """Compare with Python's, turned; return how many had their sides exchanged."""
    found = verdicts(units, folder, files, "apply")
    for number, (data, line) in enumerate(zip(files, found, strict=True)):
        expected = picture_files.python_verdict(data, "apply")
        # Pillow writes EXIF anew, which cannot be done with some damaged blocks.
        assert line == expected or expected.startswith(FAILED), (number, expected, line)
    return sum(line.split("x")[0] in ("9", "5") for line in found)


def test_orientations_are_left_alone_unless_asked_for(units, tmp_path):
    block = b"Exif\0\0" + tiff("<", [(274, 3, 1, b"\6\0\0\0")])
    data = with_segments(saved(scene((20, 9))), block)
    assert verdicts(units, tmp_path, [data])[0].startswith("20x9 ")
    assert verdicts(units, tmp_path, [data], "apply")[0].startswith("9x20 ")


def test_pictures_that_claim_too_much_are_not_decoded(units, tmp_path):
    header = struct.pack(">IIBBBBB", 2**32 - 1, 2**31, 8, 2, 0, 0, 0)
    wide = png(struct.pack(">IIBBBBB", MOST_PIXELS + 1, 1, 8, 2, 0, 0, 0), b"")
    jpeg = saved(scene((8, 8)))
    at = jpeg.index(b"\xff\xc0") + 5
    large = jpeg[:at] + b"\xff\xff\xff\xff" + jpeg[at + 4 :]
    lines = verdicts(units, tmp_path, [png(header, b""), wide, large])
    sizes = ("4294967295x2147483648", "1048577x1", "65535x65535")
    rule = f"is more than the limit of {MOST_PIXELS} pixels"
    assert lines == [f"! too large: {size} {rule}" for size in sizes]


OTHERS = {
    "BMP": lambda: saved(scene((3, 3)), "BMP"),
    "GIF": lambda: saved(scene((3, 3)).convert("P"), "GIF"),
    "TIFF": lambda: saved(scene((3, 3)), "TIFF"),
    "WebP": lambda: saved(scene((3, 3)), "WEBP"),
    "PPM": lambda: saved(scene((3, 3)), "PPM"),
    "JPEG 2000": lambda: saved(scene((3, 3)), "JPEG2000"),
    "AVIF": lambda: b"\0\0\0\x1cftypavif" + bytes(20),
    "HEIC": lambda: b"\0\0\0\x18ftypheic" + bytes(20),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named(units, tmp_path, name):
    line = verdicts(units, tmp_path, [OTHERS[name]()])
    assert line == [f"! {name} is not supported: convert it to JPEG or PNG"]


def test_files_that_are_no_images_are_named_as_in_python(units, tmp_path):
    files = [b"", b"x", b"version https://git-lfs.github.com/spec/v1", b"<!DOCTYPE html><p>"]
    files += [b"<HTML>", b"\0\5\x16\7abc", b"\xff\xd8", b"\x89PNG\r\n\x1a", b"RIFF", bytes(100)]
    expected = [picture_files.python_verdict(data) for data in files]
    assert verdicts(units, tmp_path, files) == expected


def test_paths_that_cannot_be_read(units, tmp_path):
    (tmp_path / "folder").mkdir()
    assert "cannot be read: No such file" in units.error("pixels", tmp_path / "none.jpg")
    assert "cannot be read: Is a directory" in units.error("pixels", tmp_path / "folder")
    assert "a pipe or a device, not a file" in units.error("pixels", "/dev/null")


def test_random_bytes_behind_good_headers(units, tmp_path):
    rng = np.random.default_rng(5)
    jpeg, picture = saved(scene((40, 30))), png(*png_parts((9, 5), 6, 16))
    starts = [jpeg[: jpeg.index(b"\xff\xda") + 14], picture[: picture.index(b"IDAT") + 4]]
    files = [start + rng.bytes(n) for start in starts for n in rng.integers(0, 3000, 40)]
    compare_damaged(units, tmp_path, files)


def test_pixels_are_printed_whole(units, tmp_path):
    path = tmp_path / "a.png"
    picture = scene((5, 4))
    picture.save(path)
    assert units("pixels", path) == struct.pack("ii", 5, 4) + np.asarray(picture).tobytes()
