"""Drawn pictures and the files that are written."""

import numpy as np
import pytest
from picture_files import saved, scene
from PIL import Image

from odtk_ray.pictures.draw_detections import draw_detections
from odtk_ray.pictures.strokes import class_color


def lines(detections):
    """Detections (score, label, box...) as the unit reads them."""
    return "".join(" ".join(map(repr, found)) + "\n" for found in detections).encode()


def drawn(units, folder, size, detections, *names, rotated=False):
    """The picture that C++ draws on gray."""
    path = folder / "drawn.png"
    options = ["gray:{}x{}".format(*size), path, int(rotated), *names]
    units("draw", *options, input=lines(detections))
    with Image.open(path) as picture:
        return np.asarray(picture)


def changed(pixels):
    """Where a picture is not gray any more."""
    return (pixels != 128).any(axis=2)


def test_colours_are_pythons(units):
    found = units("colours", 2000).decode().split("\n")
    assert found[:-1] == ["{} {} {}".format(*class_color(i)) for i in range(2000)]


def test_boxes_are_drawn_where_python_draws_them(units, tmp_path):
    size = (640, 480)
    boxes = [[100, 100, 300, 260], [250.4, 200.6, 630, 390], [-50, 400, 60, 900], [3, 3, 9, 8]]
    found = [(0.9 - i / 10, i, *map(float, box)) for i, box in enumerate(boxes)]
    scores, classes = np.array([row[0] for row in found]), np.arange(4)
    ours = drawn(units, tmp_path, size, found, "a", "b", "c", "d")
    gray = Image.new("RGB", size, (128, 128, 128))
    theirs = np.asarray(draw_detections(gray, np.array(boxes), scores, "abcd", classes))
    # Only the labels differ.
    far = np.ones(size[::-1], bool)
    for x1, y1, _, y2 in boxes:
        for top in (y1 - 24, y2):
            far[max(0, int(top)) : max(0, int(top) + 25), max(0, int(x1) - 2) : int(x1) + 90] = (
                False
            )
    assert (changed(ours) & far).sum() > 2000
    assert np.abs(ours[far].astype(int) - theirs[far]).max() <= 1


@pytest.mark.parametrize("theta", [0.0, 0.5, 2.0, -1.2, np.pi / 2])
def test_rotated_boxes_lie_where_python_draws_them(units, tmp_path, theta):
    box = [200.0, 150.0, 420.0, 250.0, float(np.sin(theta)), float(np.cos(theta))]
    ours = changed(drawn(units, tmp_path, (640, 400), [(0.001, 0, *box)], "", rotated=True))
    x, y = np.array([-110, -110, 110, 110]), np.array([-50, 50, 50, -50])
    turned = x * box[5] - y * box[4] + 310, x * box[4] + y * box[5] + 200
    corners = np.stack(turned, axis=-1)[None]
    rectangle = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    gray = Image.new("RGB", (640, 400), (128, 128, 128))
    arguments = rectangle, np.array([0.001]), [""], np.array([0]), corners
    theirs = changed(np.asarray(draw_detections(gray, *arguments)))
    # Lines of both are 2 pixels and a halo wide, and a label may be there.
    wide = np.pad(theirs, 2)
    near = np.any(
        [wide[2 + dy :, 2 + dx :][:400, :640] for dy in (-2, 0, 2) for dx in (-2, 0, 2)], axis=0
    )
    off = ours & ~near
    top = int(rectangle[0, 1])
    off[max(0, top - 20) : top + 1] = False
    assert ours.sum() > 1500
    assert off.sum() < 20


def test_labels_name_classes(units, tmp_path):
    found = [(0.873, 1, 100.0, 100.0, 300.0, 260.0)]
    named = drawn(units, tmp_path, (640, 480), found, "tree", "car")
    longer = drawn(units, tmp_path, (640, 480), found, "tree", "caravan")
    bare = drawn(units, tmp_path, (640, 480), found)
    alone = drawn(units, tmp_path, (640, 480), found, "tree")
    # Above the box: `car 0.87` has 8 characters of 6 pixels, and a margin; `class 1 0.87` has 12.
    # A model of one class does not name it: `0.87` has 4.
    widths = [changed(p)[90:98].any(axis=0).sum() for p in (named, longer, bare, alone)]
    assert widths == [8 * 6 + 3, 12 * 6 + 3, 12 * 6 + 3, 4 * 6 + 3]


def test_names_may_hold_anything(units, tmp_path):
    names = [
        "",
        " ",
        "Ä Ö\u3000\u4e00",
        "x" * 200,
        "a\tb\nc",
        "\U0001f333",
        b"\xff\xfebad",
        b"cut\xc3",
    ]
    found = [(0.5, i, 10.0, 40.0 * i + 20, 500.0, 40.0 * i + 35) for i in range(9)]
    found += [(0.5, -1, 10.0, 380.0, 500.0, 390.0), (0.5, 2**31 - 1, 10.0, 0.0, 500.0, 9.0)]
    pixels = drawn(units, tmp_path, (640, 420), found, *names)
    assert changed(pixels).sum() > 5000


ODD = [-1e30, -1e6, -1.0, -0.5, 0.0, 5.0, 99.5, 100.0, 1e6, 1e30, 3e38, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (120, 100)])
def test_odd_boxes_are_cut_off(units, tmp_path, size, rotated):
    rng = np.random.default_rng(size[0])
    found = []
    for label in range(300):
        box = [float(value) for value in rng.choice(ODD, 6 if rotated else 4)]
        found.append((float(rng.choice([0.1, 0.9, np.nan, np.inf])), label, *box))
    pixels = drawn(units, tmp_path, size, found, "a", rotated=rotated)
    assert pixels.shape == (size[1], size[0], 3)


def test_boxes_that_are_not_visible_change_nothing(units, tmp_path):
    nan, inf = float("nan"), float("inf")
    boxes = [(200, 0, 300, 50), (0, 120, 50, 130), (-9, -9, -1, 50), (50, 50, 40, 60)]
    boxes += [(nan, 0, 50, 50), (0, 0, inf, 50), (0, -inf, 50, 50)]
    found = [(0.9, 0, *map(float, box)) for box in boxes]
    assert not changed(drawn(units, tmp_path, (120, 100), found, "a")).any()


def test_the_best_is_on_top(units, tmp_path):
    box = (50.0, 50.0, 90.0, 90.0)
    for first, second in ((0.9, 0.3), (0.3, 0.9)):
        pixels = drawn(units, tmp_path, (640, 480), [(first, 0, *box), (second, 1, *box)])
        assert tuple(pixels[90, 70]) == class_color(0 if first > second else 1)


def test_many_detections_leave_the_picture_visible(units, tmp_path):
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 600, (300, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 60, (300, 2))])
    found = [(float(rng.random()), i % 5, *map(float, box)) for i, box in enumerate(boxes)]
    pixels = drawn(units, tmp_path, (640, 640), found, *["a long name of a class"] * 5)
    assert 0.2 < changed(pixels).mean() < 0.7


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (97, 64)])
def test_written_pictures_can_be_read(units, tmp_path, size):
    source, png, jpeg = (tmp_path / name for name in ("in.png", "out.PNG", "out.Jpeg"))
    picture = scene(size)
    picture.save(source)
    units("convert", source, png)
    units("convert", source, jpeg)
    with Image.open(png) as written:
        written.load()
        assert (written.format, written.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(written), np.asarray(picture))
    # The same encoder as Pillow's, of another version.
    assert jpeg.read_bytes() == saved(picture, quality=90, subsampling=2)


def test_other_endings_are_refused(units, tmp_path):
    source = tmp_path / "in.png"
    scene((3, 3)).save(source)
    for name in ("out.tif", "out", "png", ".png"):
        error = units.error("convert", source, tmp_path / name)
        assert "pictures are written as JPEG or PNG\n  hint: give a name that ends in .jpg" in error
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_pictures_that_are_too_large_for_a_jpeg(units, tmp_path):
    source = tmp_path / "in.png"
    Image.new("RGB", (65_501, 1)).save(source)
    error = units.error("convert", source, tmp_path / "out.jpg")
    assert "a picture cannot be written as JPEG: Maximum supported image dimension" in error
    assert not (tmp_path / "out.jpg").exists()
