"""Makes training batches: tiles of photographs with upright boxes, or scenes with rotated ones.

Picture n of a source depends on the source's seed and on n alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.appearance import Appearance, AppearanceRange
from training.photographs import Photograph
from training.rendering import Noise, Renderer, apply_appearances
from training.scenes import Scene, Style, draw_scene
from training.tiles import Augmentation, draw_tile


@dataclass(frozen=True)
class Batch:
    """Some pictures and their ground truth, on the device that trains.

    Attributes:
        pixels: float32 [B, 3, side, side], RGB, whole numbers from 0 to 255.
        boxes: for each picture, float32 [n, 4], xyxy, inclusive corners, pixels of the network
            input; rotated boxes [n, 6], followed by sin and cos.
        classes: for each picture, int64 [n].
    """

    pixels: Tensor
    boxes: list[Tensor]
    classes: list[Tensor]


class BatchSource(Protocol):
    """Provides batches.

    Attributes:
        side: of the pictures in pixels.
    """

    side: int

    def batches(self, steps: Iterable[range]) -> Iterator[Batch]:
        """Yield a batch for each step, of the pictures with these numbers."""


class TileSource:
    """Tiles of photographs whose boxes are of one class.

    Args:
        photographs: to learn from.
        how: tiles are drawn.
        seed: of the tiles.
        device: `cpu` or `cuda`.
    """

    def __init__(
        self, photographs: Sequence[Photograph], how: Augmentation, seed: int, device: str = "cpu"
    ) -> None:
        self.side = how.side
        self._photographs, self._how, self._seed = photographs, how, seed
        self._device = torch.device(device)
        self._render = Renderer(photographs, how.side, seed, self._device)

    def batches(self, steps: Iterable[range]) -> Iterator[Batch]:
        """See `BatchSource.batches`."""
        for indices in steps:
            tiles = [draw_tile(self._photographs, self._how, self._seed, i) for i in indices]
            boxes = [torch.from_numpy(tile.boxes).to(self._device) for tile in tiles]
            classes = [torch.zeros(len(own), dtype=torch.long, device=own.device) for own in boxes]
            yield Batch(self._render(tiles), boxes, classes)


class SceneSource:
    """Scenes with rotated boxes, drawn by processes of their own while the device trains.

    Args:
        photographs: RGB, that scenes are made of.
        style: of the scenes.
        variety: of what is then done to their colours.
        seed: of scenes and appearances.
        device: `cpu` or `cuda`.
        processes: that draw; 0 draws in this one.
    """

    def __init__(
        self,
        photographs: Sequence[Image.Image],
        style: Style,
        variety: AppearanceRange,
        seed: int,
        device: str = "cpu",
        processes: int = 0,
    ) -> None:
        self.side = style.side
        self._scenes = _Scenes(photographs, style, variety, seed)
        self._device, self._processes = torch.device(device), processes
        self._noise = Noise(style.side, seed, self._device)

    def batches(self, steps: Iterable[range]) -> Iterator[Batch]:
        """See `BatchSource.batches`."""
        loader: DataLoader[Any] = DataLoader(
            self._scenes,
            batch_sampler=(list(indices) for indices in steps),
            collate_fn=_Drawn.join,
            num_workers=self._processes,
            # A thread of this process then receives what the others draw.
            pin_memory=self._device.type == "cuda",
        )
        yield from map(self._load, loader)

    @torch.no_grad()
    def _load(self, drawn: _Drawn) -> Batch:
        pixels, boxes, classes = (
            torch.from_numpy(column).to(self._device)
            for column in (drawn.pixels, drawn.boxes, drawn.classes)
        )
        noise = torch.stack([self._noise(appearance) for appearance in drawn.appearances])
        return Batch(
            apply_appearances(pixels.permute(0, 3, 1, 2).float(), drawn.appearances, noise),
            list(torch.split(boxes, drawn.counts)),
            list(torch.split(classes, drawn.counts)),
        )


@dataclass(frozen=True)
class _Drawn:
    """Some scenes and their appearances, as they travel between processes.

    Arrays go through pipes. Tensors would go through shared memory, of which containers have
    little.

    Attributes:
        pixels: uint8 [B, side, side, 3].
        boxes: float32 [n, 6], those of all scenes, see `network_boxes`.
        classes: int64 [n].
        counts: boxes of each scene.
        appearances: B of them.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    counts: list[int]
    appearances: list[Appearance]

    @staticmethod
    def join(pairs: Sequence[tuple[Scene, Appearance]]) -> _Drawn:
        """Concatenate scenes with their appearances."""
        scenes, appearances = zip(*pairs, strict=True)
        return _Drawn(
            np.stack([scene.pixels for scene in scenes]),
            np.concatenate([network_boxes(scene) for scene in scenes]),
            np.concatenate([scene.classes for scene in scenes]),
            [len(scene.boxes) for scene in scenes],
            list(appearances),
        )


class _Scenes(Dataset[tuple[Scene, Appearance]]):
    def __init__(
        self, photographs: Sequence[Image.Image], style: Style, variety: AppearanceRange, seed: int
    ) -> None:
        self._photographs, self._style = photographs, style
        self._variety, self._seed = variety, seed

    def __getitem__(self, index: int) -> tuple[Scene, Appearance]:
        scene = draw_scene(self._photographs, self._style, self._seed, index)
        return scene, self._variety.draw(np.random.default_rng([self._seed, index, 1]))


def network_boxes(scene: Scene) -> NDArray[np.float32]:
    """Return the boxes of a scene that is not resized, float32 [n, 6], as in `Batch`."""
    xy, sides, theta = np.split(scene.boxes, [2, 4], axis=1)
    boxes = np.hstack([xy, xy + sides - 1, np.sin(theta), np.cos(theta)])
    return boxes.astype(np.float32)
