"""A 3x3 convolution as a Triton kernel for Hopper GPUs, in FP8 (E4M3) or FP16.

Pictures are rows of a matrix: a pixel is a row of its channels, every line of a picture ends in one
row of zeros, and every picture in one line of zeros. A tap of the kernel is then the same matrix,
some rows further, and a convolution nine products of matrices, whose tiles the copy engine (TMA)
fetches; what lies outside the matrix it reads as zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor


@dataclass(frozen=True)
class Tiles:
    """How the kernel cuts its work.

    Attributes:
        rows: pixels of a tile.
        outputs: output channels of a tile.
        depth: input channels of one step.
        stages: steps whose tiles are fetched ahead.
        warps: of a block.
        resident: blocks of a multiprocessor, each of which takes one tile after the other.
    """

    rows: int
    outputs: int
    depth: int
    stages: int
    warps: int = 8
    resident: int = 1

    def __str__(self) -> str:
        return f"{self.rows}x{self.outputs}x{self.depth}, {self.stages} stages, {self.warps} warps"


@triton.jit  # type: ignore[untyped-decorator]
def _write(
    y_desc: tl.tensor_descriptor, total: tl.tensor, row: tl.tensor, column: tl.tensor,
    scale_ptr: tl.tensor, bias_ptr: tl.tensor, lines: tl.tensor, width: tl.tensor,
    outputs: tl.tensor, tile_rows: tl.constexpr, tile_outputs: tl.constexpr,
    relu: tl.constexpr, limit: tl.constexpr,
) -> None:  # fmt: skip
    """Finish a tile, with zeros in the rows that are no pixels, and write it."""
    columns = column + tl.arange(0, tile_outputs)
    scale = tl.load(scale_ptr + columns, mask=columns < outputs, other=0.0)
    bias = tl.load(bias_ptr + columns, mask=columns < outputs, other=0.0)
    value = total * scale[None, :] + bias[None, :]
    if relu:
        value = tl.maximum(value, 0.0)
    value = tl.minimum(tl.maximum(value, -limit), limit)
    pixel = row + tl.arange(0, tile_rows)
    inside = (pixel % width < width - 1) & ((pixel // width) % lines < lines - 1)
    value = tl.where(inside[:, None], value, 0.0)
    y_desc.store([row, column], value.to(y_desc.dtype))


@triton.jit  # type: ignore[untyped-decorator]
def _conv(
    x_desc: tl.tensor_descriptor, w_desc: tl.tensor_descriptor, y_desc: tl.tensor_descriptor,
    scale_ptr: tl.tensor, bias_ptr: tl.tensor, rows: tl.tensor, lines: tl.tensor,
    width: tl.tensor, outputs: tl.tensor, channels: tl.constexpr, tile_rows: tl.constexpr,
    tile_outputs: tl.constexpr, depth: tl.constexpr, relu: tl.constexpr, limit: tl.constexpr,
) -> None:  # fmt: skip
    """Compute every n-th tile of the output, n being the number of blocks."""
    across = tl.cdiv(outputs, tile_outputs)
    steps: tl.constexpr = channels // depth
    # Flattened into the loop over steps, so that the next tile is fetched while one is written.
    for tile in tl.range(
        tl.program_id(0), tl.cdiv(rows, tile_rows) * across, tl.num_programs(0), flatten=True
    ):
        row, column = (tile // across) * tile_rows, (tile % across) * tile_outputs
        total = tl.zeros((tile_rows, tile_outputs), dtype=tl.float32)
        for step in range(9 * steps):
            tap = step // steps
            channel = (step % steps) * depth
            x = x_desc.load([row + (tap // 3 - 1) * width + tap % 3 - 1, channel])
            # Rows of the next tap, where outputs are no multiple, end in columns that are cut off.
            w = w_desc.load([tap * outputs + column, channel])
            total = tl.dot(x, w.T, total)
        _write(
            y_desc, total, row, column, scale_ptr, bias_ptr, lines, width, outputs,
            tile_rows, tile_outputs, relu, limit,
        )  # fmt: skip


class TritonConv:
    """The convolution of one layer at one size: relu(conv(x) * scale + bias).

    Args:
        x: the matrix that `to_rows` made.
        weight: [N, C, 3, 3], E4M3 or FP16, as `x`.
        scale: float32 [N], of each output channel.
        bias: float32 [N].
        size: pictures, height and width of the input.
        tiles: how it is cut.
        dtype: of the output; E4M3 and FP16 saturate.
        relu: whether negative values become 0.

    Attributes:
        output: [rows, N], the matrix that a call fills.
    """

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor,
        size: tuple[int, int, int],
        tiles: Tiles,
        *,
        dtype: torch.dtype,
        relu: bool = True,
    ) -> None:
        self._outputs, self._channels = weight.shape[:2]
        self._tiles, self._size, self._relu = tiles, size, relu
        self._scale, self._bias = scale.contiguous(), bias.contiguous()
        # A row for each tap and output channel, as wide as the input.
        flat = weight.permute(2, 3, 0, 1).reshape(-1, self._channels).contiguous()
        self.output = torch.empty(len(x), self._outputs, dtype=dtype, device=x.device)
        self._matrices = [
            TensorDescriptor.from_tensor(x, [tiles.rows, tiles.depth]),
            TensorDescriptor.from_tensor(flat, [tiles.outputs, tiles.depth]),
            TensorDescriptor.from_tensor(self.output, [tiles.rows, tiles.outputs]),
        ]
        self._limit = float(torch.finfo(dtype).max)
        count = -(-len(x) // tiles.rows) * -(-self._outputs // tiles.outputs)
        self._blocks = min(count, tiles.resident * multiprocessors(x.device))

    def __call__(self) -> Tensor:
        """Compute the output of what `x` holds now."""
        tiles, (_, height, width) = self._tiles, self._size
        _conv[(self._blocks,)](
            *self._matrices, self._scale, self._bias,
            len(self.output), height + 1, width + 1, self._outputs,
            channels=self._channels, tile_rows=tiles.rows, tile_outputs=tiles.outputs,
            depth=tiles.depth, relu=self._relu, limit=self._limit,
            num_warps=tiles.warps, num_stages=tiles.stages,
        )  # fmt: skip
        return self.output


def multiprocessors(device: torch.device) -> int:
    """Count a GPU's multiprocessors; a few for the interpreter on a CPU."""
    if device.type != "cuda":
        return 3
    return torch.cuda.get_device_properties(device).multi_processor_count


def to_rows(x: Tensor) -> Tensor:
    """Lay pictures [B, C, H, W] out as the kernel reads them: [B * (H + 1) * (W + 1), C]."""
    batch, channels, height, width = x.shape
    shape = batch, height + 1, width + 1, channels * x.element_size()
    rows = torch.zeros(shape, dtype=torch.uint8, device=x.device).view(x.dtype)
    rows[:, :height, :width] = x.permute(0, 2, 3, 1)
    return rows.view(-1, channels)


def from_rows(rows: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Return the pictures [B, C, H, W] of a matrix, size being B, H and W."""
    batch, height, width = size
    lines = rows.view(batch, height + 1, width + 1, -1)
    return lines[:, :height, :width].permute(0, 3, 1, 2)
