"""Writes boxes in GeoTIFFs as GeoJSON: RFC 7946, longitude and latitude in WGS84."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np

from odtk_ray import storage
from odtk_ray.datasets.annotation_paths import image_folder
from odtk_ray.datasets.image_boxes import ImageBoxes, outlines
from odtk_ray.datasets.rotated_boxes import Floats
from odtk_ray.errors import ImageError, UsageError
from odtk_ray.images.georeference import Georeference, read_georeference
from odtk_ray.plural import counted

Crs = Literal["wgs84", "source"]

_WGS84 = 4326
_DECIMALS = 9  # of a degree: a tenth of a millimetre


def write_geojson(
    target: str, images: Iterable[ImageBoxes], folder: str, crs: Crs
) -> tuple[str, Counter[str]]:
    """Write one FeatureCollection with a polygon for each box.

    Args:
        target: file to write.
        images: boxes, those of an image together where they follow each other.
        folder: of the images, which are GeoTIFFs.
        crs: `wgs84`, or `source`, the coordinates of the images, all in one system.

    Returns:
        what was written, and for each reason why images were left out how many boxes were.

    Raises:
        UsageError: no box could be placed, `wgs84` needs pyproj, or `source` has two systems.
        OSError: the file cannot be written.
    """
    writer = _Features(image_folder(folder), crs)
    with storage.writing(target) as part, open(part, "w", encoding="utf-8") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        for boxes in images:
            for feature in writer.features(boxes):
                stream.write((",\n" if writer.count else "\n") + json.dumps(feature))
                writer.count += 1
        stream.write("\n]" + writer.crs_member() + "}\n")
        if writer.left_out and not writer.count:
            raise UsageError(
                f"cannot place any box of {target} on the earth",
                next(iter(writer.left_out)),
                "GeoJSON needs GeoTIFFs: name their folder with --images",
            )
    return f"wrote {target}: {counted(writer.count, 'polygon')}", writer.left_out


class _Features:
    """Makes features, and remembers what the file as a whole needs."""

    def __init__(self, folder: str, crs: Crs) -> None:
        self._folder, self._crs = folder, crs
        self._epsg: int | None = None
        self._read = functools.lru_cache(maxsize=1024)(read_georeference)
        self.count = 0
        self.left_out: Counter[str] = Counter()

    def features(self, found: ImageBoxes) -> Iterable[dict[str, Any]]:
        """Return the features of an image's boxes; none where it cannot be placed."""
        path = found.name if storage.is_uri(found.name) else storage.join(self._folder, found.name)
        try:
            place = self._read(path)
        except (ImageError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            self.left_out[f"{found.name}: {why}"] += len(found.boxes)
            return
        for ring, label, score in zip(
            self._rings(place, found), found.labels, found.scores.tolist(), strict=True
        ):
            properties = {"image": found.name, "class": label}
            yield {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": properties | ({} if math.isnan(score) else {"score": score}),
            }

    def _rings(self, place: Georeference, found: ImageBoxes) -> list[list[list[float]]]:
        """Return closed rings, counter-clockwise as the RFC has them."""
        points = place.locate(outlines(found.boxes).reshape(-1, 2))
        if self._crs == "source":
            self._epsg = self._epsg or place.epsg
            if place.epsg != self._epsg:
                raise UsageError(
                    f"{found.name} has other coordinates than the images before it",
                    f"EPSG:{place.epsg}, not EPSG:{self._epsg}; one GeoJSON has one system",
                    "leave out --crs source: WGS84 holds for all",
                )
        elif place.epsg != _WGS84:
            points = np.column_stack(_to_wgs84(place.epsg)(*points.T))
        if not np.isfinite(points).all():
            raise UsageError(
                f"{found.name} lies outside the area of EPSG:{place.epsg}",
                "its corners have no longitude and latitude",
                "--crs source keeps its coordinates",
            )
        rings = _counter_clockwise(points.reshape(-1, 4, 2))
        closed: list[list[list[float]]] = rings[:, [0, 1, 2, 3, 0]].round(_DECIMALS).tolist()
        return closed

    def crs_member(self) -> str:
        """Return the text of `crs`, which GeoJSON of 2008 had and GDAL reads; WGS84 has none."""
        if self._epsg is None:
            return ""
        name = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{self._epsg}"}}
        return f',\n"crs": {json.dumps(name)}'


def _counter_clockwise(rings: Floats) -> Floats:
    x, y = np.moveaxis(rings - rings[:, :1], -1, 0)  # near the origin, where digits are
    doubled = (x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)
    return np.where((doubled < 0)[:, None, None], rings[:, ::-1], rings)


@functools.lru_cache(maxsize=64)
def _to_wgs84(epsg: int) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """Return what turns coordinates of a system into longitudes and latitudes.

    Raises:
        UsageError: pyproj is not installed, or does not know the system.
    """
    try:
        from pyproj import Transformer
        from pyproj.exceptions import CRSError
    except ImportError as error:
        raise UsageError(
            "GeoJSON in WGS84 needs pyproj",
            str(error),
            "pip install 'odtk-ray[geo]', or keep the coordinates of the images: --crs source",
        ) from error
    try:
        # Always longitude before latitude, whatever the system's own order is.
        transformer = Transformer.from_crs(epsg, _WGS84, always_xy=True)
    except CRSError as error:
        raise UsageError(
            f"cannot turn EPSG:{epsg} into WGS84",
            str(error).splitlines()[0],
            "--crs source keeps the coordinates of the images",
        ) from error
    transform: Callable[[Floats, Floats], tuple[Floats, Floats]] = transformer.transform
    return transform
