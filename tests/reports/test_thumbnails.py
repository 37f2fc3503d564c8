"""Small copies of pictures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from synthetic import picture

from odtk_ray.reports.thumbnails import make_thumbnails
from odtk_ray.settings import Preprocessing

ROOM = 1 << 20


def opened(thumbnail):
    head, _, text = thumbnail.uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_they_look_like_the_pictures(tmp_path):
    original = picture(0, 960, 720)
    original.save(tmp_path / "a.png")
    (small,) = make_thumbnails([str(tmp_path / "a.png")], Preprocessing(), ROOM)
    assert (small.width, small.height) == (960, 720)
    image = opened(small)
    assert image.size == (480, 360)
    wanted = np.asarray(original.resize((480, 360)), np.float64)
    assert np.abs(np.asarray(image, np.float64) - wanted).mean() < 4


@pytest.mark.parametrize(("exif", "size"), [("apply", (60, 90)), ("ignore", (90, 60))])
def test_pictures_are_turned_as_the_run_turned_them(tmp_path, exif, size):
    tags = Image.Exif()
    tags[0x0112] = 6
    picture(0, 90, 60).save(tmp_path / "a.jpg", exif=tags)
    (small,) = make_thumbnails([str(tmp_path / "a.jpg")], Preprocessing(exif=exif), ROOM)
    assert (small.width, small.height) == size
    assert opened(small).size == size


def test_what_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    picture(0, 90, 60).save(tmp_path / "a.jpg")
    paths = [str(tmp_path / "b.jpg"), str(tmp_path / "missing.jpg"), None, str(tmp_path / "a.jpg")]
    made = make_thumbnails(paths, Preprocessing(), ROOM)
    assert [one is not None for one in made] == [False, False, False, True]


@pytest.mark.parametrize(
    ("room", "left"), [(60_000, {8}), (14_000, {8}), (2_500, {1, 2}), (0, {0})]
)
def test_they_become_smaller_and_then_fewer_until_they_fit(tmp_path, room, left):
    """Noise, which no JPEG makes small."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(8):
        noise = rng.integers(0, 256, (48, 64, 3), np.uint8)
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(noise).save(paths[-1])
    made = make_thumbnails(paths, Preprocessing(), room)
    assert sum(len(one.uri) for one in made if one) <= room
    kept = [one is not None for one in made]
    assert kept == sorted(kept, reverse=True)
    assert sum(kept) in left
