"""Defines the two demonstration models, trees and rotated shapes, and their evaluation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from training.appearance import MODERATE
from training.batches import BatchSource, SceneSource, TileSource
from training.photographs import Photograph, read_photographs
from training.scenes import Style, draw_scene
from training.shifts import SHIFTS, shift
from training.silhouettes import NAMES
from training.start import starting_model
from training.tiles import Augmentation
from training.validation import evaluate, evaluate_scenes

from odtk_ray.model.checkpoint import save_checkpoint
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES
from odtk_ray.settings import Preprocessing

# The other photographs, OSBS_029 and SOAP_061 among them, are the test: nothing here reads them.
PHOTOGRAPHS = (
    "2019_YELL_2_528000_4978000_image_crop2.png",
    "2019_YELL_2_541000_4977000_image_crop.png",
)
STRIP = 400  # pixels: the lowest rows of the first photograph are for validation, not training


def split(
    photographs: list[Photograph], validate: str = "strip"
) -> tuple[list[Photograph], list[Photograph]]:
    """Split a photograph into what is trained on and squares of STRIP pixels for validation.

    Boxes across the border go, cut off, to each side that has enough of them.

    Args:
        photographs: two.
        validate: `strip` keeps the lowest rows of the first photograph for validation, `first` and
            `second` a whole photograph, which shows how much carries over to another place.
    """
    first, second = photographs
    if validate != "strip":
        held, kept = (first, second) if validate == "first" else (second, first)
        return [kept], squares(held)
    width, height = first.image.size
    top = height - STRIP
    return [first.cut((0, 0, width, top)), second], squares(first.cut((0, top, width, height)))


def squares(photograph: Photograph) -> list[Photograph]:
    """Return as many squares of STRIP pixels as fit, from the lower right corner on."""
    width, height = photograph.image.size
    return [
        photograph.cut((right - STRIP, bottom - STRIP, right, bottom))
        for bottom in range(height, STRIP - 1, -STRIP)
        for right in range(width, STRIP - 1, -STRIP)
    ]


class DemoModel(ABC):
    """One of the demonstration models.

    Args:
        data: the folder that `make demo` fills.
        validate: what is kept for validation, see `split`.
        seed: of the pictures to learn from.
        device: `cpu` or `cuda`.

    Attributes:
        training: photographs to learn from.
        validation: photographs to be judged on.
    """

    def __init__(self, data: Path, validate: str, seed: int, device: str) -> None:
        photographs = read_photographs(data / "trees.json", data / "photos", PHOTOGRAPHS)
        self.training, self.validation = split(photographs, validate)
        self._seed, self._device = seed, device

    @classmethod
    @abstractmethod
    def write_start(cls, path: Path, trunk: Mapping[str, Tensor], seed: int) -> None:
        """Write the checkpoint of iteration 0."""

    @abstractmethod
    def source(self, processes: int) -> BatchSource:
        """Return the pictures to learn from, made by several processes if that helps."""

    @abstractmethod
    def judge(self, path: str, final: bool = False) -> Iterator[dict[str, Any]]:
        """Yield lines of figures of a checkpoint; more of them at the end."""


class Trees(DemoModel):
    """Trees in aerial photographs, upright boxes."""

    RESIZES = (400, 600, 800, 1000, 1200)  # of which validation chooses

    @classmethod
    def write_start(cls, path: Path, trunk: Mapping[str, Tensor], seed: int) -> None:
        """See `DemoModel.write_start`."""
        save_checkpoint(
            path,
            starting_model(trunk, seed),
            ratios=DEFAULT_RATIOS,
            scales=DEFAULT_SCALES,
            class_names=["tree"],
        )

    def source(self, processes: int) -> BatchSource:
        """See `DemoModel.source`: the device makes the tiles."""
        return TileSource(self.training, Augmentation(), self._seed, self._device)

    def judge(self, path: str, final: bool = False) -> Iterator[dict[str, Any]]:
        """See `DemoModel.judge`: at other sizes and with every shift in the end."""
        for resize in self.RESIZES if final else (800,):
            yield {"resize": resize, **self._figures(path, self.validation, resize)}
        for name in SHIFTS if final else ():
            shifted = [shift(photograph, name) for photograph in self.validation]
            yield {"resize": 800, "shift": name, **self._figures(path, shifted, 800)}

    def _figures(self, path: str, photographs: list[Photograph], resize: int) -> dict[str, float]:
        stats = evaluate(path, photographs, Preprocessing(resize=resize), self._device).stats
        return {name: stats[name] for name in ("AP", "AP50", "AP75")}


class Shapes(DemoModel):
    """Elongated shapes pasted on aerial photographs, rotated boxes."""

    # A shape's longer side is 1.5 to 8 times the shorter one. Squares serve the shortest shapes;
    # 3.5 is about the geometric mean. With three angles the others lie 30 degrees apart.
    RATIOS = (1.0, 3.5, 1 / 3.5)
    SCALES = tuple(2.5 * 2 ** (third / 3) for third in range(3))  # from 20 pixels on
    ANGLES = (-math.pi / 6, 0.0, math.pi / 6)
    # As crowded as the scenes that they are judged on, and small enough for large batches.
    STYLE = Style(side=384, count=(4, 22))
    SCENES = 30  # for validation
    SEED = 1_000_000  # of these scenes; apart from the seeds of trainings

    def __init__(self, data: Path, validate: str, seed: int, device: str) -> None:
        super().__init__(data, validate, seed, device)
        grounds = [photograph.image for photograph in self.validation]
        self._scenes = [draw_scene(grounds, Style(), self.SEED, i) for i in range(self.SCENES)]

    @classmethod
    def write_start(cls, path: Path, trunk: Mapping[str, Tensor], seed: int) -> None:
        """See `DemoModel.write_start`."""
        anchors = len(cls.RATIOS) * len(cls.SCALES) * len(cls.ANGLES)
        save_checkpoint(
            path,
            starting_model(trunk, seed, classes=len(NAMES), anchors=anchors, values=6),
            ratios=cls.RATIOS,
            scales=cls.SCALES,
            angles=cls.ANGLES,
            class_names=NAMES,
        )

    def source(self, processes: int) -> BatchSource:
        """See `DemoModel.source`: processes draw the scenes."""
        photographs = [photograph.image for photograph in self.training]
        settings = self.STYLE, MODERATE, self._seed, self._device, processes
        return SceneSource(photographs, *settings)

    def judge(self, path: str, final: bool = False) -> Iterator[dict[str, Any]]:
        """See `DemoModel.judge`: each class for itself in the end."""
        report = evaluate_scenes(path, self._scenes, Preprocessing(resize=640), self._device)
        yield {"resize": 640, **report.figures()}
        for row in report.metrics.classes if final else ():
            yield {"resize": 640, "class": row.category.name, "AP": row.ap, "AP50": row.ap50}
