"""Builds the trunks of ODTK's backbones: torchvision's networks, tapped at strides 8, 16, 32.

They are built here, since importing torchvision takes as long as importing torch, in every process.
The modules have torchvision's names, so that `state_dict()` has ODTK's keys. The layers behind the
last tap (`fc`, `classifier`, MobileNetV2's `features.18`) are in ODTK's files and do nothing there;
they are left out of the modules, and `unused_tensors` tells what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from odtk_ray.errors import UsageError
from odtk_ray.model.mobilenet import MobileNetV2Trunk
from odtk_ray.model.resnet import BasicBlock, Bottleneck, ResNetTrunk
from odtk_ray.nearest import did_you_mean

Channels = tuple[int, int, int]

_NORM = ("weight", "bias", "running_mean", "running_var")


class _NoDraws(TorchFunctionMode):
    """Leaves out random initialisation, whose first call on `meta` alone imports for seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def without_data() -> Iterator[None]:
    """Create modules with names and shapes but no data (device `meta`), which is quick."""
    with torch.device("meta"), _NoDraws():
        yield


@dataclass(frozen=True)
class _Backbone:
    """How a trunk is built, the channels of its taps, and the unused tensors of ODTK's files.

    Attributes:
        trunk: makes the module.
        channels: of C3, C4 and C5.
        unused: shapes by names inside the trunk.
    """

    trunk: Callable[[], nn.Module]
    channels: Channels
    unused: Mapping[str, tuple[int, ...]]


def _resnet(block: type[BasicBlock | Bottleneck], *depths: int, **grouping: int) -> _Backbone:
    c3, c4, c5 = (planes * block.EXPANSION for planes in (128, 256, 512))
    return _Backbone(
        lambda: ResNetTrunk(block, depths, **grouping),
        (c3, c4, c5),
        {"fc.weight": (1000, c5), "fc.bias": (1000,)},
    )


_BACKBONES = {
    "ResNet18FPN": _resnet(BasicBlock, 2, 2, 2, 2),
    "ResNet34FPN": _resnet(BasicBlock, 3, 4, 6, 3),
    "ResNet50FPN": _resnet(Bottleneck, 3, 4, 6, 3),
    "ResNet101FPN": _resnet(Bottleneck, 3, 4, 23, 3),
    "ResNet152FPN": _resnet(Bottleneck, 3, 8, 36, 3),
    "ResNeXt50_32x4dFPN": _resnet(Bottleneck, 3, 4, 6, 3, groups=32, width=4),
    "ResNeXt101_32x8dFPN": _resnet(Bottleneck, 3, 4, 23, 3, groups=32, width=8),
    "MobileNetV2FPN": _Backbone(
        MobileNetV2Trunk,
        (32, 96, 320),
        {
            "features.18.0.weight": (1280, 320, 1, 1),
            **{f"features.18.1.{name}": (1280,) for name in _NORM},
            "features.18.1.num_batches_tracked": (),
            "classifier.1.weight": (1000, 1280),
            "classifier.1.bias": (1000,),
        },
    ),
}
BACKBONES = tuple(_BACKBONES)


def check_backbone(name: str) -> None:
    """Check that a name is one of `BACKBONES`.

    Raises:
        UsageError: it is not; the message names the nearest.
    """
    if name in _BACKBONES:
        return
    hint = did_you_mean(name, BACKBONES) or f"known: {', '.join(BACKBONES)}"
    raise UsageError(f"unknown backbone {name[:80]!r}", hint=hint)


def build_trunk(name: str) -> tuple[nn.Module, Channels]:
    """Build the trunk of a backbone, with random weights.

    Args:
        name: ODTK's factory name, one of `BACKBONES`.

    Returns:
        A module [B, 3, H, W] -> (C3, C4, C5), and the channels of the three.

    Raises:
        UsageError: the name is unknown.
    """
    check_backbone(name)
    backbone = _BACKBONES[name]
    return backbone.trunk(), backbone.channels


def unused_tensors(name: str) -> dict[str, Tensor]:
    """Name the tensors of ODTK's files that no output depends on.

    Args:
        name: ODTK's factory name, one of `BACKBONES`.

    Returns:
        Tensors without data (device `meta`), by their names inside the trunk, such as `fc.weight`.
    """
    return {
        key: torch.empty(shape, device="meta", dtype=torch.float32 if shape else torch.int64)
        for key, shape in _BACKBONES[name].unused.items()
    }
