"""Peak memory of a worker that detects in pictures of 400 million pixels by tiles: 2 GiB at most.

The pictures are TIFFs of several layouts and, just within --max-pixels, a JPEG and a PNG, of seeded
noise. Each is a run of the command line with the demonstration model; the worker's peak is the
kernel's.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import BinaryIO

import click
import numpy as np
from measure import descendants, load, machine, table
from numpy.typing import NDArray
from PIL import Image

import odtk_ray

COMMAND = "from odtk_ray.cli.process import main; main()"
MODEL = Path(odtk_ray.__file__).parent / "assets" / "trees.pth"
CELL = 1000  # pixels after which the picture repeats itself

Pixels = NDArray[np.uint8]
_RAW, _DEFLATE = 1, 8  # TIFF's Compression
_LINES = 64  # that are made at a time


def make_cell() -> Pixels:
    """Make smooth colours under noise, uint8 [CELL, CELL, 3]."""
    rng = np.random.default_rng(0)
    grid = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    smooth = np.asarray(grid.resize((CELL, CELL), Image.Resampling.BICUBIC))
    return smooth // 2 + rng.integers(0, 16, (CELL, CELL, 3), dtype=np.uint8)


def rows_of(cell: Pixels, x: int, y: int, width: int, height: int) -> Pixels:
    """Return a part of the picture, uint8 [height, width, 3]."""
    down, across = (np.arange(start, start + n) % CELL for start, n in ((y, height), (x, width)))
    return cell[down[:, None], across]


def write_tiff(path: Path, side: int, block: tuple[int, int], compression: int) -> None:
    """Write a square TIFF piece by piece: tiles, or strips if a block is as wide as the picture."""
    cell, (width, height) = make_cell(), block
    tiled = width != side
    pieces = [(x, y) for y in range(0, side, height) for x in range(0, side, width)]
    offsets, counts = [], []
    with path.open("wb") as stream:
        stream.write(struct.pack("<2sHI", b"II", 42, 0))
        for x, y in pieces:
            offsets.append(stream.tell())
            deflate = zlib.compressobj(1)
            end = y + height if tiled else min(y + height, side)
            for start in range(y, end, _LINES):
                lines = min(_LINES, end - start)
                data = rows_of(cell, x, start, width, lines).tobytes()
                stream.write(data if compression == _RAW else deflate.compress(data))
            if compression == _DEFLATE:
                stream.write(deflate.flush())
            counts.append(stream.tell() - offsets[-1])
        tags = [(256, [side]), (257, [side]), (258, [8, 8, 8]), (259, [compression]), (262, [2])]
        if tiled:
            tags += [(277, [3]), (322, [width]), (323, [height]), (324, offsets), (325, counts)]
        else:
            tags += [(273, offsets), (277, [3]), (278, [height]), (279, counts)]
        _write_tags(stream, tags)


def _write_tags(stream: BinaryIO, tags: list[tuple[int, list[int]]]) -> None:
    """Write the lists of numbers, then the directory, whose position goes into the header."""
    entries = []
    for tag, values in tags:
        kind, code = (3, "H") if tag == 258 else (4, "I")
        data = struct.pack(f"<{len(values)}{code}", *values)
        if len(data) > 4:
            stream.write(b"\0" * (stream.tell() % 2))
            place = struct.pack("<I", stream.tell())
            stream.write(data)
            data = place
        entries.append(struct.pack("<HHI4s", tag, kind, len(values), data))
    stream.write(b"\0" * (stream.tell() % 2))
    directory = stream.tell()
    stream.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    stream.seek(4)
    stream.write(struct.pack("<I", directory))


def write_whole(folder: Path, side: int) -> None:
    """Write a JPEG and a PNG, which are decoded as a whole, one after the other."""
    image = Image.fromarray(rows_of(make_cell(), 0, 0, side, side))
    image.save(folder / "a.jpg", quality=88)
    image.save(folder / "b.png", compress_level=1)


def write_pictures(folder: Path, kind: str, side: int) -> None:
    """Write the pictures of one row of the table."""
    blocks = {
        "tiles of 256": (256, 256),
        "strips of 16 rows": (side, 16),
        "one strip": (side, side),
    }
    layout, _, compression = kind.removeprefix("TIFF, ").partition(", ")
    if layout in blocks:
        packed = _DEFLATE if compression == "deflate" else _RAW
        write_tiff(folder / "a.tif", side, blocks[layout], packed)
    else:
        write_whole(folder, side * 2 // 3)


KINDS = (
    "TIFF, tiles of 256",
    "TIFF, tiles of 256, deflate",
    "TIFF, strips of 16 rows",
    "TIFF, strips of 16 rows, deflate",
    "TIFF, one strip",
    "JPEG and PNG",
)


def detect(folder: Path, options: list[str]) -> tuple[float, int, int]:
    """Run the command line on a folder; seconds, peak bytes of a worker, images that failed."""
    command = [sys.executable, "-c", COMMAND, "infer", str(MODEL), "--images", str(folder)]
    command += ["--output", str(folder / "out.jsonl"), *options]
    started, peak = time.perf_counter(), 0
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        while process.poll() is None:
            peak = max([peak, *map(_peak, descendants(process.pid))])
            time.sleep(0.1)
    if process.returncode not in (0, 1, 3):
        raise ChildProcessError(f"{' '.join(command)} failed")
    lines = (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    return time.perf_counter() - started, peak, sum('"error": ' in line for line in lines)


def _peak(pid: int) -> int:
    """Return the peak bytes of a worker; 0 for another process."""
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes()
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # it ended meanwhile
        return 0
    high = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(high[0]) << 10 if high and name.startswith((b"ray::CPU", b"ray::Worker")) else 0


@click.command()
@click.option("--side", type=click.IntRange(30), default=20_000, show_default=True,
              help="Pixels; of JPEG and PNG two thirds.")  # fmt: skip
@click.option("--tile", type=click.IntRange(1), default=2048, show_default=True)
@click.option("--resize", type=click.IntRange(1), default=1024, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, default=KINDS,
              help="Only these; may be repeated.")  # fmt: skip
def main(side: int, tile: int, resize: int, threads: int, kinds: tuple[str, ...]) -> None:
    """Measure a worker's peak memory; needs 2 GB below TMPDIR, which it gives back."""
    options = [f"--tile={tile}", f"--overlap={tile // 10}", f"--resize={resize}"]
    options += [f"--max-size={resize}", f"--threads-per-worker={threads}"]
    print(f"{machine()}\n{' '.join(options)}\n")
    rows: list[tuple[str, ...]] = [("", "pixels", "wall", "peak memory", "failed", "load", "goal")]
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as name:
            write_pictures(Path(name), kind, side)
            seconds, peak, failed = detect(Path(name), options)
        pixels = side if kind.startswith("TIFF") else side * 2 // 3
        figures = (f"{seconds:.0f} s", f"{peak / 2**20:,.0f} MiB", f"{failed}", f"{load():.1f}")
        goal = "2,048 MiB" if kind.startswith("TIFF") else ""
        rows.append((kind, f"{pixels:,}x{pixels:,}", *figures, goal))
    print(table(rows))


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
