"""The detector with engines that take files: what is kept apart, what runs ahead, what fails."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import picture

from odtk_ray.detect.detector import Detector
from odtk_ray.engines.protocol import Closing, Outcome
from odtk_ray.errors import ImageError
from odtk_ray.images.gpu_loader import read_pending
from odtk_ray.records import Detections
from odtk_ray.settings import Preprocessing

PREP = Preprocessing(resize=64, max_size=128)


class Files(Closing):
    """Finds one box of the size that each source states; declines files of one width."""

    key = "files"

    def __init__(self, declined=-1, decoder="gpu"):
        self.declined, self.decoder = declined, decoder
        self.unfinished = self.most_unfinished = 0
        self.threads: set[int] = set()
        self.batches: list[tuple[int, tuple[int, int]]] = []

    def read(self, data):
        return read_pending(data, PREP, self.decoder)

    def launch(self, pictures, shape):
        self.threads.add(threading.get_ident())
        self.batches.append((len(pictures), shape))
        self.unfinished += 1
        self.most_unfinished = max(self.most_unfinished, self.unfinished)

        def finish():
            self.unfinished -= 1
            return [self._one(source) for source in pictures]

        return finish

    def _one(self, source):
        if source.width == self.declined:
            return Outcome(ImageError("the image cannot be decoded: no reason"), by_pillow=True)
        new_w, new_h = source.size
        box = np.array([[0, 0, new_w, new_h]], np.float32)
        found = Detections(np.ones(1, np.float32), box, np.zeros(1, np.int32))
        return Outcome(found, not source.on_gpu)


@pytest.fixture
def paths(tmp_path):
    """40 JPEGs of three sizes; every seventh is turned by its EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(40):
        options = {"exif": exif} if i % 7 == 0 else {}
        width, height = [(100, 80), (80, 100), (90, 90)][i % 3]
        picture(i, width, height).save(tmp_path / f"{i:02d}.jpg", **options)
    return sorted(map(str, tmp_path.iterdir()))


def detect(engine, paths):
    detector = Detector(lambda: engine, PREP, launch_batch=4, threads=3)
    return detector.detect(paths)


def test_results_belong_to_their_files(paths):
    engine = Files()
    for i, result in enumerate(detect(engine, paths)):
        assert result.error is None
        width, height = [(100, 80), (80, 100), (90, 90)][i % 3]
        assert (result.width, result.height) == (width, height)
        ratio = 64 / min(width, height)
        box = [0, 0, int(width * ratio) / ratio, int(height * ratio) / ratio]
        np.testing.assert_allclose(result.detections.boxes, [box], rtol=1e-6)
        assert not result.by_pillow
    assert max(size for size, _ in engine.batches) == 4
    assert sum(size for size, _ in engine.batches) == 40


class Patient(Files):
    """Ends a launch only when three have been unfinished at once."""

    def __init__(self):
        super().__init__()
        self.three = threading.Event()

    def launch(self, pictures, shape):
        finish = super().launch(pictures, shape)
        if self.unfinished == 3:
            self.three.set()

        def wait():
            assert self.three.wait(60)
            return finish()

        return wait


def test_two_more_launches_are_queued_before_one_is_waited_for(paths):
    engine = Patient()
    detect(engine, paths)
    assert engine.most_unfinished == 3
    assert len(engine.threads) == 1


def test_what_an_engine_cannot_decode_is_a_failed_row(paths):
    results = detect(Files(declined=90), paths)
    errors = [result.error for result in results]
    assert errors[2::3] == ["the image cannot be decoded: no reason"] * 13
    assert errors[0::3] + errors[1::3] == [None] * 27


def test_the_decoder_decides_who_decodes(paths):
    data = [Path(path).read_bytes() for path in paths[:2]]
    assert [read_pending(d, PREP, "gpu").on_gpu for d in data] == [True, True]
    assert [read_pending(d, PREP, "cpu").on_gpu for d in data] == [False, False]
    turning = Preprocessing(resize=64, max_size=128, exif="apply")
    turned, upright = (read_pending(d, turning, "gpu") for d in data)
    assert (turned.on_gpu, upright.on_gpu) == (False, True)
    assert (turned.width, turned.height) == (80, 100)  # the file says 100x80


@pytest.mark.parametrize("decoder", ["gpu", "cpu"])
def test_bad_files_fail_with_the_same_words(decoder):
    buffer = io.BytesIO()
    picture(1, 200, 100).save(buffer, "JPEG")
    whole = buffer.getvalue()
    small = Preprocessing(max_pixels=19_999)
    narrow = Preprocessing(resize=1, max_size=1)
    for data, prep, words in [
        (whole[:-500], PREP, "truncated"),
        (b"", PREP, "empty"),
        (b"\xff\xd8 nothing \xff\xd9", PREP, "header"),
        (whole, small, "too large: 200x100 is more than the limit"),
        (whole, narrow, "too narrow"),
    ]:
        with pytest.raises(ImageError, match=words):
            read_pending(data, prep, decoder)
