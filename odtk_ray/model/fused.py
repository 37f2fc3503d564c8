"""Fuses ReLU and sums into convolutions, for speed on GPUs.

What it computes is what `RetinaNet` computes, up to rounding. Only the modules change; names and
`state_dict()` are no longer those of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from odtk_ray.model.resnet import BasicBlock, Bottleneck, ResNetTrunk
from odtk_ray.model.retinanet import RetinaNet

# cuDNN's fused kernels for half precision read channels in groups of eight.
_CHANNEL_GROUP = 8


def fuse_relu(model: RetinaNet) -> RetinaNet:
    """Join convolutions with the ReLU and the sum that follow, in place, as cuDNN computes them.

    Args:
        model: with its BatchNorm folded. ReLU6 (MobileNetV2) stays as it is.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, BasicBlock | Bottleneck):
                setattr(module, name, Residual(child))
        if isinstance(module, ResNetTrunk):
            module.relu = nn.Identity()
            module.maxpool = PoolAddReLU(module.maxpool, take_bias(module.conv1))
    model.cls_head, model.box_head = _fused_head(model.cls_head), _fused_head(model.box_head)
    return model


# Registered by hand: an operator of torch.library.custom_op imports torch's compiler on its first
# call, which takes seconds.
_OPERATORS: Any = torch.library.Library("odtk_ray", "DEF")  # type: ignore[no-untyped-call]
_OPERATORS.define(
    "conv_relu(Tensor x, Tensor weight, Tensor bias, SymInt[] stride, SymInt[] padding) -> Tensor"
)
_OPERATORS.define(
    "conv_add_relu(Tensor x, Tensor weight, Tensor z, Tensor bias, SymInt[] stride, "
    "SymInt[] padding) -> Tensor"
)
conv_relu: Callable[..., Tensor] = torch.ops.odtk_ray.conv_relu
conv_add_relu: Callable[..., Tensor] = torch.ops.odtk_ray.conv_add_relu


@torch.library.impl(_OPERATORS, "conv_relu", "CUDA")
def _conv_relu(
    x: Tensor, weight: Tensor, bias: Tensor, stride: list[int], padding: list[int]
) -> Tensor:
    """Compute relu(conv(x) + bias) in one cuDNN kernel."""
    return torch.cudnn_convolution_relu(x, weight, bias, stride, padding, (1, 1), 1)


@torch.library.register_fake("odtk_ray::conv_relu", lib=_OPERATORS)  # type: ignore[untyped-decorator]
def _conv_relu_shape(
    x: Tensor, weight: Tensor, bias: Tensor, stride: list[int], padding: list[int]
) -> Tensor:
    return torch.conv2d(x, weight, bias, stride, padding)


@torch.library.impl(_OPERATORS, "conv_add_relu", "CUDA")
def _conv_add_relu(
    x: Tensor, weight: Tensor, z: Tensor, bias: Tensor, stride: list[int], padding: list[int]
) -> Tensor:
    """Compute relu(conv(x) + bias + z), likewise."""
    return torch.cudnn_convolution_add_relu(x, weight, z, 1.0, bias, stride, padding, (1, 1), 1)


@torch.library.register_fake("odtk_ray::conv_add_relu", lib=_OPERATORS)  # type: ignore[untyped-decorator]
def _conv_add_relu_shape(
    x: Tensor, weight: Tensor, z: Tensor, bias: Tensor, stride: list[int], padding: list[int]
) -> Tensor:
    return torch.conv2d(x, weight, bias, stride, padding)


class ConvReLU(nn.Module):
    """relu(conv(x)), in one kernel where cuDNN has it.

    Args:
        conv: the convolution, with a bias; its weights are shared.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """Compute relu(conv(x)): float [B, C, H, W] to [B, C', H', W']."""
        if _has_kernel(self.conv, x):
            c = self.conv
            joined: Tensor = conv_relu(x, c.weight, c.bias, list(c.stride), _padding(c))
            return joined
        return self.conv(x).relu_()  # type: ignore[no-any-return]


class ConvAddReLU(nn.Module):
    """relu(conv(x) + z), in one kernel where cuDNN has it.

    Args:
        conv: the convolution, with a bias; its weights are shared.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Compute relu(conv(x) + z), z of the shape of conv(x)."""
        if _has_kernel(self.conv, x):
            c = self.conv
            joined: Tensor = conv_add_relu(x, c.weight, z, c.bias, list(c.stride), _padding(c))
            return joined
        return self.conv(x).add_(z).relu_()  # type: ignore[no-any-return]


class PoolAddReLU(nn.Module):
    """relu(pool(x) + bias): max pooling of relu(x + bias), which rises with x, on fewer pixels.

    cuDNN adds no bias and takes no ReLU where a convolution has three or four input channels.

    Args:
        pool: max pooling without dilation, whose windows all have a pixel inside.
        bias: float [C].
    """

    def __init__(self, pool: nn.Module, bias: nn.Parameter) -> None:
        super().__init__()
        self.pool, self.bias = pool, bias

    def forward(self, x: Tensor) -> Tensor:
        """Compute relu(pool(x) + bias): float [B, C, H, W] to [B, C, H', W']."""
        return self.pool(x).add_(self.bias.view(-1, 1, 1)).relu_()  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A residual block of a ResNet.

    Both summands' biases are the last convolution's: a bias without ReLU is a pass of its own.

    Args:
        block: with its BatchNorm folded.
    """

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        *inner, last = _convolutions(block)
        self.inner = nn.Sequential(*map(ConvReLU, inner))
        self.downsample = block.downsample or nn.Identity()
        if block.downsample is not None:
            shortcut = next(_convolutions(block.downsample))
            both = take_bias(last) + take_bias(shortcut)
            last.bias = nn.Parameter(both, requires_grad=False)
        self.last = ConvAddReLU(last)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block: float [B, C, H, W] to [B, C', H', W']."""
        return self.last(self.inner(x), self.downsample(x))  # type: ignore[no-any-return]


def take_bias(conv: nn.Conv2d) -> nn.Parameter:
    """Take a convolution's bias away; return it, float [C].

    Raises:
        ValueError: it has none.
    """
    if conv.bias is None:
        raise ValueError("a convolution without a bias: fold the BatchNorm behind it first")
    bias, conv.bias = nn.Parameter(conv.bias, requires_grad=False), None
    return bias


def _convolutions(parent: nn.Module) -> Iterator[nn.Conv2d]:
    for child in parent.children():
        if isinstance(child, nn.Conv2d):
            yield child


def _fused_head(head: nn.Sequential) -> nn.Sequential:
    convolutions = [layer for layer in head if isinstance(layer, nn.Conv2d)]
    return nn.Sequential(*map(ConvReLU, convolutions[:-1]), convolutions[-1])


def _has_kernel(conv: nn.Conv2d, x: Tensor) -> bool:
    return (
        x.is_cuda
        and x.dtype == torch.float16
        and conv.groups == 1
        and conv.dilation == (1, 1)
        and conv.in_channels % _CHANNEL_GROUP == 0
        and conv.out_channels % _CHANNEL_GROUP == 0
    )


def _padding(conv: nn.Conv2d) -> list[int]:
    if isinstance(conv.padding, str):
        raise TypeError(f"padding by name ({conv.padding}) has no kernel")
    return list(conv.padding)
