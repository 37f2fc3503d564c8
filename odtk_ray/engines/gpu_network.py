"""Prepares RetinaNet for a GPU: folded, half precision, channels last, fused."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.model.folding import fold_batch_norms
from odtk_ray.model.fused import fuse_relu
from odtk_ray.model.retinanet import RetinaNet


def load_network(checkpoint: Checkpoint, *, full_precision: bool) -> RetinaNet:
    """Load the network on the current GPU, BatchNorm folded; make the process deterministic.

    Args:
        checkpoint: the model to run.
        full_precision: float32 without TF32, otherwise float16.
    """
    # Otherwise the bytes of a result would depend on the process that computed it.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    if full_precision:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    model = fold_batch_norms(checkpoint.build())
    dtype = torch.float32 if full_precision else torch.float16
    model = model.to("cuda", dtype).to(memory_format=torch.channels_last)
    torch.cuda.synchronize()  # other streams read the weights from now on
    return model


def fused(model: RetinaNet) -> RetinaNet:
    """Return a copy with fused kernels; its weights are shared with `model`."""
    return fuse_relu(copied(model))


def with_padded_input(model: RetinaNet) -> RetinaNet:
    """Return a copy that takes batches of four channels, the last of them 0.

    cuDNN's kernels for half precision read channels in groups of four or more: of a batch of three
    channels they make such a one first. The other weights are shared with `model`.
    """
    model = copied(model)
    for backbone in model.backbones.values():
        conv = next(part for part in backbone.modules() if isinstance(part, nn.Conv2d))
        weight = functional.pad(conv.weight, (0, 0, 0, 0, 0, 1))
        weight = weight.contiguous(memory_format=torch.channels_last)
        conv.weight, conv.in_channels = nn.Parameter(weight, requires_grad=False), 4
    return model


def copied(model: RetinaNet) -> RetinaNet:
    """Return a copy whose weights are shared with `model`."""
    shared: dict[int, Any] = {id(weight): weight for weight in model.parameters()}
    return copy.deepcopy(model, shared)
