"""The worked numbers of docs/conventions.md are what the code gives."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from odtk_ray.datasets.dota_writer import object_line
from odtk_ray.datasets.rotated_boxes import corners, to_le90, to_opencv

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"


def worked():
    table = (
        PAGE.read_text(encoding="utf-8")
        .split("| ODTK | OpenCV | le90 | DOTA corners |\n")[1]
        .split("\n\n")[0]
    )
    return [
        [[float(v) for v in cell.split(",")] for cell in line.strip("|").split("|")]
        for line in table.splitlines()[1:]
    ]


def test_the_page_has_several_angles():
    assert len({row[0][4] for row in worked()}) >= 4


@pytest.mark.parametrize("row", worked())
def test_worked_numbers(row):
    odtk, opencv, le90, dota = row
    boxes = np.array([odtk])
    np.testing.assert_allclose(to_opencv(boxes)[0], opencv, atol=0.006)
    np.testing.assert_allclose(to_le90(boxes)[0], le90, atol=0.006)
    _, line = object_line({"segmentation": corners(boxes).reshape(1, 8).tolist()}, "image", "ship")
    np.testing.assert_allclose([float(v) for v in line.split()[:8]], dota, atol=0.006)
    # by hand: the corner (-39.5, -9.5) from the centre, turned
    sin, cos = math.sin(odtk[4]), math.cos(odtk[4])
    by_hand = (139.5 - 39.5 * cos + 9.5 * sin, 209.5 - 39.5 * sin - 9.5 * cos)
    np.testing.assert_allclose(dota[:2], by_hand, atol=0.006)


def test_the_drawing_shows_the_box_of_0_3():
    drawing = (PAGE.parent / "theta.svg").read_text(encoding="utf-8")
    points = re.findall(r'polygon points="([^"]+)"', drawing)[1]
    x, y = np.array([p.split(",") for p in points.split()], float).T
    expected = next(row[3] for row in worked() if row[0][4] == 0.3)
    # drawn four times as large, from (80, 176) on; the drawing goes anti-clockwise as ODTK does
    corners = np.reshape(expected, (4, 2))[[0, 3, 2, 1]]
    np.testing.assert_allclose(np.stack([x / 4 + 80, y / 4 + 176], 1), corners, atol=0.03)
