"""Where a GeoTIFF lies on the earth: its affine transform and its coordinate system.

Source: OGC 19-008r4, the GeoTIFF standard: the tags ModelPixelScale, ModelTiepoint and
ModelTransformation, and the keys in GeoKeyDirectory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from odtk_ray import storage
from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import open_image

Floats = NDArray[np.float64]

_SCALE, _TIEPOINT, _TRANSFORMATION, _KEYS = 33550, 33922, 34264, 34735
_MODEL_TYPE, _RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1024, 1025, 2048, 3072
_IS_PROJECTED, _IS_GEOGRAPHIC = 1, 2  # values of the model type
_IS_POINT = 2  # value of the raster type: coordinates are those of pixels' centres
_USER_DEFINED = 32767


@dataclass(frozen=True)
class Georeference:
    """The place of a picture.

    Attributes:
        transform: float64 [2, 3]; times (x, y, 1), where pixel (0, 0) ends at (1, 1), it gives
            coordinates: east and north, or longitude and latitude.
        epsg: code of the coordinate system.
    """

    transform: Floats
    epsg: int

    def locate(self, points: Floats) -> Floats:
        """Return the coordinates of points [n, 2] of the picture, float64 [n, 2]."""
        located: Floats = points @ self.transform[:, :2].T + self.transform[:, 2]
        return located


def read_georeference(path: str) -> Georeference:
    """Read the tags of a GeoTIFF; no pixel is read.

    Raises:
        ImageError: it is no GeoTIFF, or its coordinate system has no EPSG code.
        OSError: it cannot be read.
    """
    with storage.open_input(path) as stream, open_image(stream) as image:
        if not isinstance(image, TiffImagePlugin.TiffImageFile):
            raise ImageError("it is no TIFF")
        try:
            scale, tie, matrix = (_numbers(image, t) for t in (_SCALE, _TIEPOINT, _TRANSFORMATION))
            keys = _short_keys(_numbers(image, _KEYS))
        except Exception as error:  # damaged tags can hold anything
            raise ImageError("its georeference is damaged") from error
    transform = _transform(scale, tie, matrix)
    if keys.get(_RASTER_TYPE) == _IS_POINT:
        transform[:, 2] -= transform[:, :2].sum(axis=1) / 2
    if not np.isfinite(transform).all():
        raise ImageError("its georeference is damaged")
    return Georeference(transform, _epsg(keys))


def _numbers(image: TiffImagePlugin.TiffImageFile, tag: int) -> Floats:
    """Return the numbers of a tag; none where there is no such tag."""
    return np.array(image.tag_v2.get(tag, ()), np.float64).reshape(-1)


def _transform(scale: Floats, tie: Floats, matrix: Floats) -> Floats:
    if len(matrix) == 16:
        return matrix.reshape(4, 4)[:2, [0, 1, 3]]
    if len(scale) < 2 or len(tie) != 6:
        raise ImageError("it has no georeference of a scale and a tie point, or of a matrix")
    (across, down), (column, row), (east, north) = scale[:2], tie[:2], tie[3:5]
    return np.array([[across, 0, east - column * across], [0, -down, north + row * down]])


def _short_keys(directory: Floats) -> dict[int, int]:
    """Return the keys whose value stands in the directory itself, after its header."""
    entries = directory[: len(directory) // 4 * 4].astype(np.int64).reshape(-1, 4)[1:]
    return {key: value for key, where, _, value in entries.tolist() if where == 0}


def _epsg(keys: dict[int, int]) -> int:
    kind = {_IS_PROJECTED: _PROJECTED, _IS_GEOGRAPHIC: _GEOGRAPHIC}.get(keys.get(_MODEL_TYPE, 0))
    code = keys.get(kind, 0) if kind is not None else 0
    if code in (0, _USER_DEFINED):
        raise ImageError("its coordinate system has no EPSG code")
    return code
