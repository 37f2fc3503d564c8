"""Folds BatchNorm into the convolutions before it, for every engine."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import torch
from torch import nn

from odtk_ray.model.retinanet import RetinaNet


def fold_batch_norms(model: RetinaNet) -> RetinaNet:
    """Copy the network without BatchNorm; equal to it in eval mode up to rounding.

    A BatchNorm2d with weight g, bias b, mean m, variance v and epsilon e behind a convolution
    (W, c) becomes part of it::

        W' = W * g / sqrt(v + e)        c' = (c - m) * g / sqrt(v + e) + b

    computed in float64 and rounded once. Every convolution of the copy has a bias and keeps its
    name; an `nn.Identity` stands where a BatchNorm was.

    Args:
        model: in eval mode; its tensors are neither changed nor shared.

    Returns:
        The copy, in eval mode, without gradients, on the same device.
    """
    folded = copy.deepcopy(model)
    for parent in list(folded.modules()):
        for conv, name, norm in _pairs(parent):
            conv.weight, conv.bias = _fold(conv, norm)
            setattr(parent, name, nn.Identity())
    left = [name for name, part in folded.named_modules() if isinstance(part, nn.BatchNorm2d)]
    if left:
        raise ValueError(f"no convolution stands before {', '.join(left)}")
    return folded.eval().requires_grad_(False)


def _pairs(parent: nn.Module) -> Iterator[tuple[nn.Conv2d, str, nn.BatchNorm2d]]:
    """Yield convolutions with the BatchNorm that takes their output, which is declared next."""
    children = list(parent.named_children())
    for (_, conv), (name, norm) in itertools.pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield conv, name, norm


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[nn.Parameter, nn.Parameter]:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a BatchNorm without running statistics cannot be folded")
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    bias = conv.bias.double() if conv.bias is not None else torch.zeros_like(scale)
    weight = conv.weight.double() * scale[:, None, None, None]
    bias = (bias - mean.double()) * scale + norm.bias.double()
    return (
        nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False),
        nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False),
    )
