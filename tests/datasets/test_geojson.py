"""GeoJSON, compared with rasterio."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from PIL import Image, TiffImagePlugin
from rasterio.transform import Affine, xy
from rasterio.warp import transform as warp

from odtk_ray.cli.program import cli
from odtk_ray.datasets.convert import Conversion, convert
from odtk_ray.datasets.image_boxes import outlines
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.images.georeference import read_georeference

SIZE = (160, 120)
SIN, COS = math.sin(0.5), math.cos(0.5)
TURNED = Affine(0.5 * COS, 0.4 * SIN, 4e5, 0.5 * SIN, -0.4 * COS, 5.8e6)
PLACES = {
    "utm.tif": ("EPSG:32633", Affine(0.5, 0, 4e5, 0, -0.5, 5.8e6), "Area"),
    "turned.tif": ("EPSG:32633", TURNED, "Area"),
    "degrees.tif": ("EPSG:4326", Affine(1e-5, 0, 13, 0, -1e-5, 52), "Area"),
    "point.tif": ("EPSG:3857", Affine(0.3, 0, 1.4e6, 0, -0.3, 6.8e6), "Point"),
    "south.tif": ("EPSG:2193", Affine(2, 0, 1.75e6, 0, 2, 5.4e6), "Area"),  # rows go north
    "feet.tif": ("EPSG:2263", Affine(1, 0, 9.8e5, 0, -1, 2e5), "Area"),
}
BOXES = [[10, 20, 30, 40, 0.0], [100, 50, 40, 20, 0.7], [0, 0, 160, 120, 0.0]]


@pytest.fixture
def folder(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, *SIZE[::-1]), np.uint8)
    for name, (crs, affine, kind) in PLACES.items():
        form = {"driver": "GTiff", "width": SIZE[0], "height": SIZE[1], "count": 3}
        with rasterio.open(
            tmp_path / name, "w", **form, dtype="uint8", crs=crs, transform=affine
        ) as file:
            file.update_tags(AREA_OR_POINT=kind)
            file.write(pixels)
    return tmp_path


def found(folder, names=tuple(PLACES), boxes=BOXES):
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": i, "category_id": 1, "bbox": box, "score": 0.5}
            for i in range(len(names))
            for box in boxes
        ],
    }
    path = folder / "found.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def corners_by_rasterio(path, box, crs="EPSG:4326"):
    with rasterio.open(path) as file:
        x, y = outlines(np.array([box]))[0].T
        points = xy(file.transform, y, x, offset="ul")
        return np.column_stack(warp(file.crs, crs or file.crs, *points))


def compare(features, folder, boxes, crs="EPSG:4326"):
    for feature, box in zip(features, boxes, strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        assert (ring[0] == ring[-1]).all()
        x, y = (ring - ring[0]).T
        assert (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() > 0  # counter-clockwise
        expected = corners_by_rasterio(folder / feature["properties"]["image"], box, crs)
        turned = [np.roll(expected[::way], k, axis=0) for way in (1, -1) for k in range(4)]
        assert min(np.abs(ring[:4] - corners).max() for corners in turned) < 2e-9


def test_polygons_lie_where_rasterio_has_them(folder):
    target = folder / "found.geojson"
    said = convert(Conversion(found(folder), str(target), str(folder)))
    assert said == [f"wrote {target}: 18 polygons"]
    document = json.loads(target.read_text(encoding="utf-8"))
    assert list(document) == ["type", "features"]  # RFC 7946 has no member `crs`
    compare(document["features"], folder, BOXES * len(PLACES))
    assert document["features"][0]["properties"] == {
        "image": "utm.tif",
        "class": "ship",
        "score": 0.5,
    }


def test_the_coordinates_of_the_file(folder):
    target = folder / "found.geojson"
    convert(
        Conversion(found(folder, ["utm.tif", "turned.tif"]), str(target), str(folder), crs="source")
    )
    document = json.loads(target.read_text(encoding="utf-8"))
    assert document["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    compare(document["features"], folder, BOXES * 2, None)
    # 10 pixels to the right and 20 down, half a metre each
    assert [400005.0, 5799990.0] in document["features"][0]["geometry"]["coordinates"][0]


def test_one_file_has_one_system(folder):
    names = ["utm.tif", "point.tif"]
    with pytest.raises(UsageError, match="EPSG:3857, not EPSG:32633"):
        convert(
            Conversion(found(folder, names), str(folder / "x.geojson"), str(folder), crs="source")
        )
    assert not (folder / "x.geojson").exists()


def test_images_without_a_place_are_left_out_and_counted(folder):
    Image.new("RGB", SIZE).save(folder / "plain.tif")
    Image.new("RGB", SIZE).save(folder / "a.png")
    names = ["utm.tif", "plain.tif", "a.png", "gone.tif"]
    target = folder / "found.geojson"
    done, note = convert(Conversion(found(folder, names), str(target), str(folder)))
    assert done == f"wrote {target}: 3 polygons"
    assert note == (
        "note: 3 images with 9 boxes left out, first plain.tif: it has no georeference of a scale "
        "and a tie point, or of a matrix"
    )
    with pytest.raises(UsageError, match="cannot place any box"):
        convert(Conversion(found(folder, names[1:]), str(folder / "x.geojson"), str(folder)))
    assert not (folder / "x.geojson").exists()


def test_nothing_detected_is_a_collection_without_features(folder):
    target = folder / "found.geojson"
    convert(Conversion(found(folder, boxes=[]), str(target), str(folder)))
    document = json.loads(target.read_text(encoding="utf-8"))
    assert document == {"type": "FeatureCollection", "features": []}


def geotiff(path, keys, scale=(1.0, 1.0, 0.0), tie=(0.0,) * 6):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, values, kind in ((33550, scale, 12), (33922, tie, 12), (34735, keys, 3)):
        tags[tag], tags.tagtype[tag] = values, kind
    Image.new("RGB", (4, 4)).save(path, tiffinfo=tags)


@pytest.mark.parametrize(
    ("keys", "scale", "message"),
    [
        ((1, 1, 0, 1, 1024, 0, 1, 1), (1.0, 1.0), "no EPSG code"),
        ((1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32767), (1.0, 1.0), "no EPSG code"),
        ((1, 1, 0), (1.0, 1.0), "no EPSG code"),
        ((1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633), (float("nan"), 1.0), "damaged"),
        ((1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633), (1.0,), "no georeference"),
    ],
)
def test_damaged_tags_are_named(tmp_path, keys, scale, message):
    geotiff(tmp_path / "a.tif", keys, scale)
    with pytest.raises(ImageError, match=message):
        read_georeference(str(tmp_path / "a.tif"))


def test_pyproj_may_be_missing(folder):
    source = found(folder, ["utm.tif"])
    code = "import sys; sys.modules['pyproj'] = None; from odtk_ray.cli.process import main; main()"
    arguments = ["convert", source, str(folder / "x.geojson"), "--images", str(folder)]
    for more, exit_code in (([], 2), (["--crs", "source"], 0)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, *more],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == exit_code, done.stderr
    assert "pip install 'odtk-ray[geo]'" in subprocess.run(
        [sys.executable, "-c", code, *arguments[:2], str(folder / "y.geojson"), *arguments[3:]],
        capture_output=True, text=True, check=False,
    ).stderr  # fmt: skip


def test_a_tiled_run(checkpoint, folder, tmp_path):
    """From a GeoTIFF to polygons, by the commands."""
    images = tmp_path / "images"
    images.mkdir()
    (folder / "turned.tif").rename(images / "turned.tif")
    given = ["infer", checkpoint, "--images", images, "--local", "--tile", "64", "--resize", "64"]
    given += ["--output", tmp_path / "out.json"]
    outcome = CliRunner().invoke(cli, list(map(str, given)))
    assert outcome.exit_code == 0, outcome.stderr
    given = ["convert", tmp_path / "out.json", tmp_path / "out.geojson", "--images", images]
    outcome = CliRunner().invoke(cli, list(map(str, given)))
    assert outcome.exit_code == 0, outcome.stderr
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["annotations"]
    features = json.loads((tmp_path / "out.geojson").read_text(encoding="utf-8"))["features"]
    # The tiny model finds things in the padding too; clamped to the picture they have no sides.
    boxes = [[*row["bbox"], 0.0] for row in rows if min(row["bbox"][2:]) >= 0]
    assert len(boxes) > 5
    compare(features, images, boxes)
    left_out = len(rows) - len(boxes)
    assert left_out == 0 or f"are left out: {left_out} annotation" in outcome.stdout
