"""A fused network whose steps between convolutions are kernels of `cuda_ops`, one pass each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import cuda_ops
from odtk_ray.engines.cuda_step import Biases
from odtk_ray.engines.gpu_network import copied
from odtk_ray.model.fpn import FPN
from odtk_ray.model.fused import ConvReLU, PoolAddReLU, Residual, take_bias
from odtk_ray.model.retinanet import RetinaNet


def with_kernels(model: RetinaNet, device: cuda_ops.Device) -> tuple[RetinaNet, Biases]:
    """Return a copy that computes the same with fewer passes; its weights are shared.

    Its bits are the same too, except behind the ends of bottlenecks (`Bottleneck`), whose sums
    have another order.

    Args:
        model: fused, on the GPU.
        device: work is queued on its stream, which must be torch's current one when the network is
            called.

    Returns:
        The copy, and the last biases of both heads, which it leaves out.
    """
    model = copied(model)
    half = next(model.parameters()).dtype == torch.float16
    biases = [_last_bias(head).cpu().numpy() for head in (model.cls_head, model.box_head)]
    epilogues = cuda_ops.Epilogues(device, "float16" if half else "float32")
    ends = cuda_ops.BottleneckEnd(device) if half else None
    for module in list(model.modules()):
        if isinstance(module, nn.Sequential):
            _join_relu6(module, epilogues)
        for name, child in module.named_children():
            if isinstance(child, PoolAddReLU) and _is_3x3_by_2(child.pool):
                if epilogues.fits(len(child.bias)):
                    setattr(module, name, PoolKernel(child, epilogues))
            elif isinstance(child, FPN) and epilogues.fits(child.smooth3.out_channels):
                setattr(module, name, Pyramid(child, epilogues))
            elif isinstance(child, ConvReLU) and child.conv.groups > 1:
                if epilogues.fits(child.conv.out_channels):
                    setattr(module, name, BiasedConv(child.conv, epilogues, math.inf))
            elif isinstance(child, Residual) and ends is not None and _has_kernel(child, ends):
                setattr(module, name, Bottleneck(child, ends))
    return model, (biases[0], biases[1])


def _join_relu6(layers: nn.Sequential, epilogues: cuda_ops.Epilogues) -> None:
    """Give every convolution of a MobileNet its bias, and the ReLU6 that follows, in one pass."""
    parts = [name for name, part in layers.named_children() if not isinstance(part, nn.Identity)]
    for name, following in itertools.zip_longest(parts, parts[1:], fillvalue=""):
        conv = layers.get_submodule(name)
        relu6 = isinstance(layers.get_submodule(following), nn.ReLU6)
        if not isinstance(conv, nn.Conv2d) or conv.bias is None:
            continue
        if epilogues.fits(conv.out_channels):
            setattr(layers, name, BiasedConv(conv, epilogues, 6.0 if relu6 else None))
            if relu6:
                setattr(layers, following, nn.Identity())


class BiasedConv(nn.Module):
    """conv(x) + bias, the level above if there is one, and a ReLU with a limit.

    For convolutions whose own kernel takes no bias or no ReLU along.
    """

    def __init__(
        self, conv: nn.Conv2d, epilogues: cuda_ops.Epilogues, limit: float | None = None
    ) -> None:
        super().__init__()
        self.bias = take_bias(conv)
        self.conv, self._epilogues, self._limit = conv, epilogues, limit

    def forward(self, x: Tensor, above: Tensor | None = None) -> Tensor:
        """Compute float [B, C, H, W] from x; `above` is [B, C, H / 2, W / 2]."""
        out = _channels_last(self.conv(x))
        pointer = None if above is None else above.data_ptr()
        self._epilogues.add_bias(
            out.data_ptr(), self.bias.data_ptr(), out.shape, above=pointer, limit=self._limit
        )
        return out


class PoolKernel(nn.Module):
    """`PoolAddReLU` in one kernel."""

    def __init__(self, layer: PoolAddReLU, epilogues: cuda_ops.Epilogues) -> None:
        super().__init__()
        self.bias, self._epilogues = layer.bias, epilogues

    def forward(self, x: Tensor) -> Tensor:
        """Compute relu(pool(x) + bias): float [B, C, H, W] to [B, C, H / 2, W / 2], rounded up."""
        x = _channels_last(x)
        batch, channels, height, width = x.shape
        out = torch.empty(
            (batch, channels, (height + 1) // 2, (width + 1) // 2),
            dtype=x.dtype, device=x.device, memory_format=torch.channels_last,
        )  # fmt: skip
        self._epilogues.pool(x.data_ptr(), self.bias.data_ptr(), out.data_ptr(), x.shape)
        return out


class Bottleneck(nn.Module):
    """`Residual` with its last convolution and that of its shortcut in one kernel.

    cuDNN's kernel of this convolution takes twice the time that memory needs (docs/benchmarks.md).
    """

    def __init__(self, block: Residual, ends: cuda_ops.BottleneckEnd) -> None:
        super().__init__()
        self.inner, self.conv, self._ends = block.inner, block.last.conv, ends
        self.shortcut = next(_convolutions(block.downsample), None)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block: float16 [B, C, H, W] to [B, C', H, W]."""
        inner, x = _channels_last(self.inner(x)), _channels_last(x)
        batch, _, height, width = inner.shape
        columns = self.conv.out_channels
        out = torch.empty(
            (batch, columns, height, width),
            dtype=x.dtype, device=x.device, memory_format=torch.channels_last,
        )  # fmt: skip
        bias = self.conv.bias
        if bias is None:
            raise ValueError("the last convolution of a block has no bias")
        self._ends.launch(
            inner.data_ptr(),
            self.conv.weight.data_ptr(),
            bias.data_ptr(),
            x.data_ptr(),
            out.data_ptr(),
            batch * height * width,
            columns,
            None if self.shortcut is None else self.shortcut.weight.data_ptr(),
        )
        return out


class Pyramid(nn.Module):
    """`FPN`, with its biases and its way down in one pass for each level."""

    def __init__(self, fpn: FPN, epilogues: cuda_ops.Epilogues) -> None:
        super().__init__()
        self.features = fpn.features
        self.pyramid6, self.pyramid7 = fpn.pyramid6, fpn.pyramid7
        self.lateral, self.smooth = (
            nn.ModuleList(BiasedConv(conv, epilogues) for conv in convolutions)
            for convolutions in (
                (fpn.lateral3, fpn.lateral4, fpn.lateral5),
                (fpn.smooth3, fpn.smooth4, fpn.smooth5),
            )
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """See `FPN.forward`."""
        c3, c4, c5 = self.features(x)
        lateral3, lateral4, lateral5 = self.lateral
        p5 = lateral5(c5)
        p4 = lateral4(c4, p5)
        p3 = lateral3(c3, p4)
        p6 = self.pyramid6(c5)
        p7 = self.pyramid7(torch.relu(p6))
        smoothed = [smooth(p) for smooth, p in zip(self.smooth, (p3, p4, p5), strict=True)]
        return [*smoothed, p6, p7]


def _has_kernel(block: Residual, ends: cuda_ops.BottleneckEnd) -> bool:
    """Return whether the kernel computes a block's end, and its shortcut."""
    last = block.last.conv
    shortcut = list(_convolutions(block.downsample))
    return ends.fits(last.in_channels, last.out_channels) and all(
        conv.kernel_size == (1, 1)
        and conv.stride == (1, 1)
        and conv.groups == 1
        and conv.in_channels == last.in_channels
        for conv in (last, *shortcut)
    )


def _convolutions(module: nn.Module) -> Iterator[nn.Conv2d]:
    return (part for part in module.modules() if isinstance(part, nn.Conv2d))


def _channels_last(x: Tensor) -> Tensor:
    """Return the tensor in the order that the kernels read through pointers."""
    return x.contiguous(memory_format=torch.channels_last)


def _last_bias(head: nn.Sequential) -> Tensor:
    last = head[-1]
    if not isinstance(last, nn.Conv2d):
        raise TypeError(f"a head ends in {type(last).__name__}, not in a convolution")
    return take_bias(last)


def _is_3x3_by_2(pool: nn.Module) -> bool:
    return isinstance(pool, nn.MaxPool2d) and (
        pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    ) == (3, 2, 1, 1, False)  # fmt: skip
