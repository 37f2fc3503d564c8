"""Whatever lies among the images is one failed row, or one sentence before anything starts."""

from __future__ import annotations

import json
import os

import huge_headers
import pytest
from click.testing import CliRunner
from huge_headers import bmp, png, ppm, small_picture, strips, tiles

from odtk_ray.cli.program import cli
from odtk_ray.config import InferConfig
from odtk_ray.datasets.image_sources import find_images
from odtk_ray.pictures.draw_run import check_drawing

SMALL = ("--resize", "64", "--max-size", "128", "--threads-per-worker", "1")
BEYOND, MOST = 2**31, 2**31 - 1  # of int32

HEADERS = {
    f"{kind.__name__}-{width}x{height}": kind(width, height)
    for kind in (png, bmp, ppm, strips, tiles)
    for width, height in ((BEYOND, BEYOND), (MOST, MOST), (BEYOND, 1), (1, BEYOND))
} | {
    "png-largest": png(2**32 - 1, 2**32 - 1),
    "tiles-that-are-missing": tiles(40_000, 40_000),
    "tiles-without-pixels": tiles(10_000, 10_000, side=0),
    # One uncompressed strip that claims 4 GB, and is read by rows.
    "strip-that-is-missing": huge_headers.tiff(
        {256: (65_535,), 257: (65_535,), 273: (300,), 278: (65_535,), 279: (65_535 * 65_535,)}
    ),
}


def infer(checkpoint, tmp_path, *arguments):
    given = ["infer", checkpoint, *SMALL, "--output", tmp_path / "out.json", *arguments]
    outcome = CliRunner().invoke(cli, list(map(str, given)))
    assert "defect of odtk-ray" not in outcome.stderr
    return outcome


def failures(tmp_path):
    lines = (tmp_path / "out.failures.jsonl").read_text(encoding="utf-8").splitlines()
    return {failure["file_name"]: failure["error"] for failure in map(json.loads, lines)}


@pytest.mark.parametrize("tile", [(), ("--tile", "512", "--overlap", "0")], ids=["whole", "tiled"])
def test_headers_that_claim_anything_are_failed_rows(runs, checkpoint, tmp_path, tile):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in HEADERS.items():
        assert len(content) <= 5000
        ending = {"strips": ".tif", "tiles": ".tif", "strip": ".tif"}.get(name.split("-")[0])
        (folder / (name + (ending or f".{name.split('-')[0]}"))).write_bytes(content)
    (folder / "good.png").write_bytes(small_picture())
    assert infer(checkpoint, tmp_path, "--images", folder, *tile).exit_code == 3
    failed = failures(tmp_path)
    assert len(failed) == len(HEADERS)
    words = ("too large", "damaged", "left out", "file ends before its pixels", "not an image")
    assert not [error for error in failed.values() if not any(word in error for word in words)]
    assert not any("can only be read with --tile" in error for error in failed.values() if tile)
    assert (
        len(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["images"])
        == len(HEADERS) + 1
    )


def test_lines_that_name_no_image_are_failed_rows(runs, checkpoint, tmp_path):
    (tmp_path / "good.png").write_bytes(small_picture())
    os.mkfifo(tmp_path / "pipe.png")
    with open(tmp_path / "junk.png", "wb") as junk:
        junk.truncate(3 << 30)
    expected = {
        "nosuch://bucket/x.png": "cannot be read: Protocol not known: nosuch",
        "..": "cannot be read: Is a directory",
        "../gone.png": "cannot be read: No such file or directory",
        "good.png/x.png": "cannot be read: Not a directory",
        "a\0b.png": "cannot be read: embedded null byte",
        "file:///a#b.png": "cannot be read: # ends the path of a URI: write %23 for it, or the "
        "path without file://",
        "pipe.png": "cannot be read: it is a pipe or a device, not a file",
        "/dev/zero": "cannot be read: it is a pipe or a device, not a file",
        "junk.png": "not an image, or its header is damaged",
    }
    lines = ["nosuch://bucket/x.png", "../" + tmp_path.name + "/good.png", *expected]
    (tmp_path / "list.txt").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    outcome = infer(checkpoint, tmp_path, "--images", tmp_path / "list.txt")
    assert outcome.exit_code == 3
    assert failures(tmp_path) == expected
    records = find_images(str(tmp_path / "list.txt")).records
    check_drawing(InferConfig("model.pth", draw=str(tmp_path / "drawn")), records)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("notes.txt", "notes.txt is no list of images: none of its 2 lines names a file"),
        ("utf16.txt", "it is UTF-16, not UTF-8"),
        ("model.pth", "not an image, or its header is damaged"),
        ("pipe.png", "it is a pipe, a device or a link to nothing"),
        ("*.jpg", "nothing matches it"),
        ("file:///a#b", "cannot use file:///a#b: # ends the path of a URI"),
    ],
)
def test_sources_without_an_image_fail_before_anything_starts(
    checkpoint, tmp_path, monkeypatch, source, message
):
    monkeypatch.setattr("odtk_ray.run.prepare_run.open_workers", None)  # Ray would be started by it
    (tmp_path / "notes.txt").write_text("Dear all,\nthis is no list.\n", encoding="utf-8")
    (tmp_path / "utf16.txt").write_text("good.png\n", encoding="utf-16")
    (tmp_path / "model.pth").write_bytes(b"PK\3\4" + bytes(300))
    os.mkfifo(tmp_path / "pipe.png")
    images = source if "://" in source else tmp_path / source
    outcome = infer(checkpoint, tmp_path, "--images", images)
    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert "it is empty" not in outcome.stderr


def test_outputs_at_file_uris(runs, checkpoint, tmp_path):
    (tmp_path / "good.png").write_bytes(small_picture())
    (tmp_path / "out #2").mkdir()
    given = ("--images", tmp_path / "good.png", "--output")
    assert (
        infer(checkpoint, tmp_path, *given, f"file://{tmp_path}/out%20%232/o.json").exit_code == 0
    )
    assert (tmp_path / "out #2" / "o.json").exists()
    outcome = infer(checkpoint, tmp_path, *given, f"file://{tmp_path}/out #2/o.json")
    assert outcome.exit_code == 2
    assert "# ends the path of a URI: write %23 for it" in outcome.stderr
