"""What was detected in one picture, for programs and notebooks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from odtk_ray.api.pictures import GivenPicture, take
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.errors import UsageError
from odtk_ray.pictures.draw_detections import draw_detections

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from odtk_ray.api.pictures import Picture

# As `--draw-threshold` of the command line.
_DRAWN = 0.3

# Width and height in pixels that a notebook shows at most: it stores what it shows.
_SHOWN = (1024, 1024)


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections in one picture, best first.

    Boxes are those of the output files: COCO's `bbox`, in pixels of the picture as it was decoded;
    docs/conventions.md has the drawing.

    Attributes:
        bbox: float64 [n, 4], x, y, width, height; rotated [n, 5], where theta follows, in radians,
            positive clockwise.
        scores: float32 [n], in (0, 1], descending.
        classes: int32 [n], 0-based class index.
        names: of each class of the model.
        ids: category id of each class of the model.
        width: of the picture in pixels.
        height: likewise.
        picture: that they were found in; it is read again where it is drawn.
    """

    bbox: NDArray[np.float64]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]
    names: Sequence[str] = field(repr=False)
    ids: Sequence[int | str] = field(repr=False)
    width: int
    height: int
    picture: GivenPicture = field(repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        best = f", best {self.names[self.classes[0]]} {self.scores[0]:.2f}" if len(self) else ""
        return f"<{len(self)} detections in {self.width}x{self.height}{best}>"

    @property
    def rotated(self) -> bool:
        """Whether the boxes are rotated."""
        return bool(self.bbox.shape[1] == 5)

    @property
    def corners(self) -> NDArray[np.float64]:
        """The corners of the boxes, float64 [n, 4, 2]: centres of pixels, as ODTK writes them."""
        turned = self.bbox if self.rotated else np.pad(self.bbox, ((0, 0), (0, 1)))
        return corners(turned)

    @property
    def xyxy(self) -> NDArray[np.float64]:
        """The edges left, top, right and bottom of the boxes, float64 [n, 4].

        Right is x + width, bottom y + height: the ends of the last pixels. Of rotated boxes they
        are those of the boxes around them.
        """
        if not self.rotated:
            return np.hstack([self.bbox[:, :2], self.bbox[:, :2] + self.bbox[:, 2:]])
        points = self.corners
        return np.hstack([points.min(axis=1), points.max(axis=1) + 1])

    def to_arrow(self) -> pa.Table:
        """Return a table with the columns of `.parquet` files, but without those of the image.

        They are `category_id`, `category`, `score`, `x`, `y`, `width` and `height`, and `theta` of
        rotated boxes.
        """
        import pyarrow as pa

        from odtk_ray.run.output_columns import box_names

        ids = pa.array(self.ids if _integers(self.ids) else list(map(str, self.ids)))
        columns = {
            "category_id": ids.take(self.classes),
            "category": pa.array(list(self.names), pa.string()).take(self.classes),
            "score": pa.array(self.scores, pa.float32()),
        }
        boxes = zip(box_names(self.rotated), self.bbox.T, strict=True)
        return pa.table(columns | {name: pa.array(values) for name, values in boxes})

    def to_pandas(self) -> pd.DataFrame:
        """Return `to_arrow` as a data frame.

        Raises:
            UsageError: pandas is not installed.
        """
        _import("pandas")
        return self.to_arrow().to_pandas()

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections` with `xyxy`, the class indices, and names in its data.

        Rotated boxes have their corners in its data too, where supervision looks for them.

        Raises:
            UsageError: supervision is not installed.
        """
        supervision = _import("supervision")
        data = {"class_name": np.array(self.names, dtype=str)[self.classes]}
        if self.rotated:
            data["xyxyxyxy"] = self.corners.astype(np.float32)
        return supervision.Detections(
            xyxy=self.xyxy.astype(np.float32),
            confidence=self.scores,
            class_id=self.classes.astype(np.int64),
            data=data,
        )

    def draw(self, picture: Picture | None = None, *, threshold: float = _DRAWN) -> Image.Image:
        """Draw boxes, names and scores into a copy of the picture, as `--draw` does.

        Args:
            picture: another one of the same size. Default: the one that they were found in, which
                is read again.
            threshold: lowest score that is drawn.

        Raises:
            UsageError: it is no picture, or of another size.
            OdtkError: it cannot be read.
        """
        given = self.picture if picture is None else take(picture, self.picture.prep)
        canvas = given.decoded()
        if canvas.size != (self.width, self.height):
            raise UsageError(
                f"{given.name} has {canvas.width}x{canvas.height} pixels",
                f"the detections are of a picture of {self.width}x{self.height}",
            )
        shown = self.scores >= threshold
        outlines = self.corners[shown] if self.rotated else None
        return draw_detections(
            canvas,
            self.xyxy[shown] - (0, 0, 1, 1),
            self.scores[shown],
            self.names,
            self.classes[shown],
            outlines,
        )

    def _repr_jpeg_(self) -> bytes:
        """Show the picture with its boxes in a notebook, smaller if it is large."""
        drawn, buffer = self.draw(), io.BytesIO()
        drawn.thumbnail(_SHOWN)
        drawn.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()


def _integers(ids: Sequence[int | str]) -> bool:
    return all(isinstance(value, int) and abs(value) < 1 << 63 for value in ids)


def _import(package: str) -> Any:
    """Import a package that only one method needs."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(f"this needs {package}", str(error), f"pip install {package}") from error
