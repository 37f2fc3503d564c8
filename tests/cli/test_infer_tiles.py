"""`--tile`: large pictures through the command line."""

from __future__ import annotations

import json
import os
import time
import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic import picture
from test_infer import infer

from odtk_ray.detect import tiling
from odtk_ray.detect.detector import Detector
from odtk_ray.detect.tiling import count_windows, cut_windows, detect_tiled
from odtk_ray.engines.protocol import HostEngine
from odtk_ray.images import windows
from odtk_ray.pictures.draw_detections import draw_detections
from odtk_ray.records import Detections
from odtk_ray.settings import Postprocessing, Preprocessing

PREP = Preprocessing(resize=64, max_size=64, stride=64, tile=64, overlap=16)

NAMES = ["class 0", "class 1", "class 2"]  # of a model that has none


class SquareEngine(HostEngine):
    """Finds white squares on black, by their corners: what a window shows of them."""

    key = "squares"
    prep = PREP

    def detect(self, pictures, shape):
        return [self._one(picture) for picture in pictures]

    def _one(self, picture):
        y, x = np.nonzero(picture[:, :, 0] > 128)
        if not len(x):
            return Detections(
                np.empty(0, np.float32), np.empty((0, 4), np.float32), np.empty(0, np.int32)
            )
        box = np.array([[x.min(), y.min(), x.max(), y.max()]], np.float32)
        return Detections(np.array([len(x) / 5000], np.float32), box, np.zeros(1, np.int32))


@given(
    sizes=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=3),
    tile=st.integers(1, 200),
    share=st.floats(0, 0.95),
)
def test_windows_are_counted_as_they_are_cut(sizes, tile, share):
    overlap = int(tile * share)
    widths, heights = np.array(sizes, np.int32).reshape(-1, 2).T
    cut = [len(cut_windows(*size, tile, overlap)) for size in sizes]
    assert count_windows(widths, heights, tile, overlap) == sum(cut)


@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    tile=st.integers(1, 200),
    share=st.floats(0, 0.95),
)
def test_windows_cover_everything(width, height, tile, share):
    overlap = int(tile * share)
    if width * height > 20_000 * max(tile - overlap, 1):
        return
    covered = np.zeros((height, width), bool)
    windows = cut_windows(width, height, tile, overlap)
    assert len(set(windows)) == len(windows)
    for x, y, w, h in windows:
        assert (w, h) == (min(tile, width), min(tile, height))
        assert x + w <= width
        assert y + h <= height
        covered[y : y + h, x : x + w] = True
    assert covered.all()
    starts = sorted({x for x, _, _, _ in windows})
    assert all(b - a <= tile - overlap for a, b in pairwise(starts))


def test_positions_and_the_boxes_of_several_windows(tmp_path):
    # windows start at 0, 48, 96, 136 (the last is moved back from 144) in x, at 0 and 36 in y
    assert [x for x, y, _, _ in cut_windows(200, 100, 64, 16) if y == 0] == [0, 48, 96, 136]
    assert sorted({y for _, y, _, _ in cut_windows(200, 100, 64, 16)}) == [0, 36]
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[40:52, 50:62] = 255  # wholly in the windows at x 0 and 48, at both y: found four times
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    detector = Detector(SquareEngine, PREP, launch_batch=4, threads=2)
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "a.png")]
    done = []
    first, failed, again = detect_tiled(detector, paths, PREP, Postprocessing(), done.append)
    assert first.detections.boxes.tolist() == [[50, 40, 61, 51]]
    assert (first.width, first.height, first.error) == (200, 100, None)
    assert failed.error == "not an image, or its header is damaged"
    assert again.detections.boxes.tolist() == first.detections.boxes.tolist()
    assert sum(done) == 3


def test_a_large_picture_is_gone_before_the_next_is_opened(tmp_path, monkeypatch):
    """Damaged ones too: what was raised holds nothing of them."""
    large = picture(3, 200, 100)
    large.save(tmp_path / "a.png")
    large.save(tmp_path / "b.tif", compression="tiff_lzw", tiffinfo={278: 16})
    data = bytearray((tmp_path / "b.tif").read_bytes())
    data[8:100] = b"\xff" * 92
    (tmp_path / "c.tif").write_bytes(data)
    opened = []

    def checked_open(path, prep):
        assert [picture() for picture in opened] == [None] * len(opened)
        found = windows.open_windowed(path, prep)
        opened.append(weakref.ref(found))
        return found

    def slow(read):
        def slowly(*window):
            time.sleep(0.02)
            return read(*window)

        return slowly

    monkeypatch.setattr(tiling, "open_windowed", checked_open)
    monkeypatch.setattr(tiling, "LARGE", 0)
    monkeypatch.setattr(windows, "LARGE", 0)
    for kind in (windows._Whole, windows.TiffWindows):
        monkeypatch.setattr(kind, "read", slow(kind.read))
    detector = Detector(SquareEngine, PREP, launch_batch=4, threads=2)
    paths = [str(tmp_path / name) for name in ("a.png", "c.tif", "b.tif", "b.tif", "a.png")]
    results = detect_tiled(detector, paths, PREP, Postprocessing())
    assert [result.error is None for result in results] == [True, False, True, True, True]
    assert len(opened) == 5


@pytest.mark.parametrize("rotated", [False, True])
def test_a_picture_that_fits_into_a_tile_is_detected_as_ever(
    runs, checkpoint, rotated_checkpoint, photos, tmp_path, rotated
):
    model = rotated_checkpoint if rotated else checkpoint
    given_ = ("--images", photos, "--limit", "6")
    assert infer(model, tmp_path, *given_).exit_code == 0
    whole = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["annotations"]
    assert infer(model, tmp_path, *given_, "--tile", "200").exit_code == 0
    tiled = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["annotations"]
    assert len(whole) == len(tiled) > 20
    for a, b in zip(whole, tiled, strict=True):
        assert (a["image_id"], a["category_id"]) == (b["image_id"], b["category_id"])
        np.testing.assert_allclose(a["bbox"], b["bbox"], atol=0.05)


def drawn_at_half_size(whole, rows):
    """The picture made smaller as a whole, and a document's boxes drawn into it."""
    outlines = None
    boxes = np.array([row["bbox"][:4] for row in rows])
    boxes[:, 2:] += boxes[:, :2] - 1
    if len(rows[0]["bbox"]) == 5:
        outlines = np.array([row["segmentation"] for row in rows]).reshape(-1, 4, 2) / 2
        boxes = np.hstack([outlines.min(axis=1), outlines.max(axis=1)]) * 2
    scores, classes = (np.array([row[name] for row in rows]) for name in ("score", "category_id"))
    return draw_detections(whole.reduce(2), boxes / 2, scores, NAMES, classes.astype(int), outlines)


@pytest.mark.parametrize("rotated", [False, True])
def test_large_tiffs_are_read_by_windows(runs, checkpoint, rotated_checkpoint, tmp_path, rotated):
    folder = tmp_path / "aerial"
    folder.mkdir()
    large = picture(3, 400, 300)
    large.save(folder / "a.tif", compression="tiff_lzw", tiffinfo={278: 16})
    large.save(folder / "b.png")
    large.crop((0, 0, 100, 100)).save(folder / "c.png")
    model = rotated_checkpoint if rotated else checkpoint
    given_ = ("--images", folder, "--tile", "128", "--overlap", "32")
    draw = ("--draw", tmp_path / "drawn", "--draw-threshold", "0")
    outcome = infer(model, tmp_path, *given_, "--max-pixels", "50000", *draw)
    assert outcome.exit_code == 3
    assert sorted(os.listdir(tmp_path / "drawn")) == ["a.tif.png", "c.png"]
    failures = (tmp_path / "out.failures.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["file_name"] for line in failures] == ["b.png"]
    assert "too large: 400x300" in failures[0]
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["annotations"]
    by_windows = [row["bbox"] for row in document if row["image_id"] == 0]
    assert len(by_windows) > 100  # more than one tile may have
    assert max(box[0] for box in by_windows) > 250
    # 120,000 pixels were drawn at half the size, which has 50,000 at most
    drawn = Image.open(tmp_path / "drawn" / "a.tif.png")
    expected = drawn_at_half_size(large, [row for row in document if row["image_id"] == 0])
    assert drawn.size == expected.size == (200, 150)
    same = (np.asarray(drawn) == np.asarray(expected)).all(axis=2)
    assert same.mean() > 0.99  # corners may be rounded to the next pixel
    assert (np.asarray(drawn) != np.asarray(large.reduce(2))).any(axis=2).mean() > 0.2
    # decoded as a whole, the same picture gives the same detections
    assert infer(model, tmp_path, *given_).exit_code == 0
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["annotations"]
    assert [row["bbox"] for row in document if row["image_id"] == 0] == by_windows
    assert [row["bbox"] for row in document if row["image_id"] == 1] == by_windows


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--overlap", "9"), "it needs --tile"),
        (("--tile", "64", "--overlap", "64"), "it must be less than --tile"),
    ],
)
def test_wrong_usage(checkpoint, photos, tmp_path, flags, words):
    outcome = infer(checkpoint, tmp_path, "--images", photos, *flags)
    assert outcome.exit_code == 2
    assert words in outcome.stderr
