"""Prepares RetinaNet for a GPU: folded, half precision, channels last, fused."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from odtk_ray.model.checkpoint import Checkpoint
from odtk_ray.model.folding import fold_batch_norms
from odtk_ray.model.fused import fuse_relu
from odtk_ray.model.retinanet import RetinaNet

_OUTPUT_GROUP = 32


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


def padded(model: RetinaNet) -> RetinaNet:
    """Return a copy with as many channels at both ends as cuDNN has fast kernels for.

    Batches have four, the last of them 0: three channels cuDNN would pad in a pass of its own. The
    heads end in whole groups of `_OUTPUT_GROUP`, for which it has faster kernels in half precision
    (docs/benchmarks.md): the further logits are minus infinity, the further box deltas 0. The other
    weights are shared.
    """
    model = copied(model)
    for backbone in model.backbones.values():
        conv = next(part for part in backbone.modules() if isinstance(part, nn.Conv2d))
        conv.weight, conv.in_channels = _with_zeros(conv.weight, inputs=1), 4
    for head, filler in ((model.cls_head, -math.inf), (model.box_head, 0.0)):
        last = head[-1]
        if not isinstance(last, nn.Conv2d) or last.bias is None:
            raise TypeError(f"a head ends in {last}, not in a convolution with a bias")
        more = -last.out_channels % _OUTPUT_GROUP
        last.weight = _with_zeros(last.weight, outputs=more)
        last.bias = nn.Parameter(functional.pad(last.bias, (0, more), value=filler), False)
        last.out_channels += more
    return model


def _with_zeros(weight: Tensor, inputs: int = 0, outputs: int = 0) -> nn.Parameter:
    """Return a convolution's weight, [C', C, h, w], with further channels of zeros."""
    wider = functional.pad(weight, (0, 0, 0, 0, 0, inputs, 0, outputs))
    wider = wider.contiguous(memory_format=torch.channels_last)
    return nn.Parameter(wider, requires_grad=False)


def copied(model: RetinaNet) -> RetinaNet:
    """Return a copy whose weights are shared with `model`."""
    shared: dict[int, Any] = {id(weight): weight for weight in model.parameters()}
    return copy.deepcopy(model, shared)
