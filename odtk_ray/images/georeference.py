"""Where a GeoTIFF lies on the earth: its affine transform and its coordinate system.

Source: OGC 19-008r4, the GeoTIFF standard: the tags ModelPixelScale, ModelTiepoint and
ModelTransformation, and the keys in GeoKeyDirectory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from odtk_ray import storage
from odtk_ray.errors import ImageError
from odtk_ray.images.decode_image import open_image

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

    transform: NDArray[np.float64]
    epsg: int

    def locate(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the coordinates of points [n, 2] of the picture, float64 [n, 2]."""
        located: NDArray[np.float64] = points @ self.transform[:, :2].T + self.transform[:, 2]
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
        tags = {tag: image.tag_v2.get(tag) for tag in (_SCALE, _TIEPOINT, _TRANSFORMATION, _KEYS)}
    keys = _short_keys(tags[_KEYS])
    transform = _transform(tags)
    if keys.get(_RASTER_TYPE) == _IS_POINT:
        transform[:, 2] -= transform[:, :2].sum(axis=1) / 2
    return Georeference(transform, _epsg(keys))


def _transform(tags: dict[int, Any]) -> NDArray[np.float64]:
    scale, tie, matrix = tags[_SCALE], tags[_TIEPOINT], tags[_TRANSFORMATION]
    if matrix is not None and len(matrix) == 16:
        rows = np.array(matrix, np.float64).reshape(4, 4)[:2]
        return rows[:, [0, 1, 3]]
    if scale is None or tie is None or len(tie) != 6:
        raise ImageError("it has no georeference of a scale and a tie point, or of a matrix")
    (across, down), (column, row), (east, north) = scale[:2], tie[:2], tie[3:5]
    return np.array([[across, 0, east - column * across], [0, -down, north + row * down]])


def _short_keys(directory: Any) -> dict[int, int]:
    """Return the keys whose value stands in the directory itself."""
    entries = np.array(directory or (), np.int64)
    entries = entries[: len(entries) // 4 * 4].reshape(-1, 4)[1:]
    return {key: value for key, where, _, value in entries.tolist() if where == 0}


def _epsg(keys: dict[int, int]) -> int:
    kind = {_IS_PROJECTED: _PROJECTED, _IS_GEOGRAPHIC: _GEOGRAPHIC}.get(keys.get(_MODEL_TYPE, 0))
    code = keys.get(kind, 0) if kind is not None else 0
    if code in (0, _USER_DEFINED):
        raise ImageError("its coordinate system has no EPSG code")
    return code
