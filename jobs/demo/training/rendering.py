"""From `Tile`s to pixels, on the device that trains: whole batches, and nothing to wait for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import Tensor

from training.appearance import LUMA, NOISE, Appearance
from training.photographs import Photograph
from training.tiles import Tile

_REACH = 6  # pixels on each side that the blur looks at
_GRAY = 128.0  # of holes


class Noise:
    """One square of noise in the memory of a device, of which every picture takes a part.

    It is made from the seed once, so a picture is the same whatever else is in its batch.

    Args:
        side: of a picture in pixels.
        seed: of the noise.
        device: where pictures are made.
    """

    def __init__(self, side: int, seed: int, device: torch.device) -> None:
        self._side = side
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((3, NOISE, NOISE), generator=generator)
        self._noise = F.pad(noise[None], (0, side, 0, side), mode="circular")[0].to(device)

    def __call__(self, appearance: Appearance) -> Tensor:
        """Return a picture's part, float32 [3, side, side], mean 0 and standard deviation 1."""
        x, y = appearance.corner
        cells = -(-self._side // appearance.grain)
        noise = self._noise[:, y : y + cells, x : x + cells]
        if appearance.grain > 1:
            noise = noise.repeat_interleave(appearance.grain, 1).repeat_interleave(
                appearance.grain, 2
            )
        return noise[:, : self._side, : self._side]


class Renderer:
    """Holds the photographs, and noise, in the memory of a device.

    Args:
        photographs: as `draw_tile` gets them.
        side: of a tile in pixels.
        seed: of the noise.
        device: where tiles are made.
    """

    def __init__(
        self, photographs: Sequence[Photograph], side: int, seed: int, device: torch.device
    ) -> None:
        self._side = side
        self._noise = Noise(side, seed, device)
        self._pictures = [
            torch.from_numpy(np.asarray(p.image).copy()).permute(2, 0, 1).to(device)
            for p in photographs
        ]

    @torch.no_grad()
    def __call__(self, tiles: Sequence[Tile]) -> Tensor:
        """Render tiles.

        Returns:
            float32 [B, 3, side, side], RGB, whole numbers from 0 to 255.
        """
        pixels = torch.stack([self._cut(tile) for tile in tiles])
        noise = torch.stack([self._noise(tile.appearance) for tile in tiles])
        pixels = apply_appearances(pixels, [tile.appearance for tile in tiles], noise)
        for slot, tile in zip(pixels, tiles, strict=True):
            for x1, y1, x2, y2 in tile.holes.tolist():
                slot[:, y1:y2, x1:x2] = _GRAY
        return pixels

    def _cut(self, tile: Tile) -> Tensor:
        """Return float32 [3, side, side]: the area, enlarged or reduced, and turned."""
        x1, y1, x2, y2 = tile.area
        part = self._pictures[tile.photograph][None, :, y1:y2, x1:x2].float()
        size = (self._side, self._side)
        pixels = F.interpolate(part, size, mode="bilinear", antialias=True)[0]
        flips = [axis for bit, axis in ((1, 2), (2, 1)) if tile.turned & bit]
        pixels = pixels.flip(flips) if flips else pixels
        return pixels.transpose(1, 2) if tile.turned & 4 else pixels


def apply_appearances(pixels: Tensor, appearances: Sequence[Appearance], noise: Tensor) -> Tensor:
    """Apply to each tile its appearance.

    Args:
        pixels: float32 [B, 3, h, w], RGB, 0 to 255.
        appearances: B of them.
        noise: float32 [B, 3, h, w] with standard deviation 1.

    Returns:
        float32 [B, 3, h, w], whole numbers from 0 to 255.
    """

    def column(values: Sequence[object], *shape: int) -> Tensor:
        table = torch.from_numpy(np.array(values, np.float32))
        return table.view(len(appearances), *shape).to(pixels.device, non_blocking=True)

    blurred = blur(pixels, column([a.sigma for a in appearances]))
    pixels = pixels + column([a.sharpness for a in appearances], 1, 1, 1) * (pixels - blurred)
    gamma = column([a.gamma for a in appearances], 3, 1, 1)
    pixels = 255 * (pixels.clamp(0, 255) / 255) ** gamma
    pixels = torch.einsum("bij,bjhw->bihw", column([a.mix for a in appearances], 3, 3), pixels)
    luma = torch.tensor(LUMA, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
    gray = (pixels.mean((2, 3), keepdim=True) * luma).sum(1, keepdim=True)
    pixels = gray + column([a.contrast for a in appearances], 1, 1, 1) * (pixels - gray)
    light = column([a.light for a in appearances], 1, *appearances[0].light.shape)
    pixels = pixels * F.interpolate(light, pixels.shape[2:], mode="bicubic", align_corners=True)
    pixels = pixels + column([a.noise for a in appearances], 1, 1, 1) * noise
    return pixels.clamp(0, 255).round()


def blur(pixels: Tensor, sigma: Tensor) -> Tensor:
    """Blur each picture by its own Gaussian sigma; edges are repeated.

    Args:
        pixels: float32 [B, C, h, w].
        sigma: float32 [B], pixels, greater than 0; weights beyond 6 pixels are left out.

    Returns:
        float32 [B, C, h, w].
    """
    batch, channels, height, width = pixels.shape
    offsets = torch.arange(-_REACH, _REACH + 1, device=pixels.device)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    kernels = weights.repeat_interleave(channels, 0)  # [B C, k]
    flat = F.pad(
        pixels.reshape(1, batch * channels, height, width), (_REACH,) * 4, mode="replicate"
    )
    flat = F.conv2d(flat, kernels[:, None, :, None], groups=batch * channels)
    flat = F.conv2d(flat, kernels[:, None, None, :], groups=batch * channels)
    return flat.view(batch, channels, height, width)
