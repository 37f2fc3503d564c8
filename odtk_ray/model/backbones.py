"""The trunks of ODTK's backbones: torchvision networks tapped at strides 8, 16 and 32.

The modules keep torchvision's names, so that `state_dict()` has ODTK's keys. The layers behind the
last tap (`fc`, `classifier`, MobileNetV2's `features.18`) are in ODTK's files and do nothing there;
they are left out of the modules, and `unused_tensors` tells what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
import torchvision.models as networks
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from odtk_ray.errors import UsageError

Channels = tuple[int, int, int]


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
    """Modules made inside have names and shapes, no data (device `meta`), and are made quickly."""
    with torch.device("meta"), _NoDraws():
        yield


class ResNetTrunk(nn.Module):
    """C3, C4 and C5 of a torchvision ResNet or ResNeXt.

    Args:
        network: a torchvision `ResNet`; its layers are shared, not copied.
    """

    def __init__(self, network: networks.ResNet) -> None:
        super().__init__()
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.relu, self.maxpool = network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Taps after layer2, layer3 and layer4.

        Args:
            x: float [B, 3, H, W], a normalised image.

        Returns:
            C3, C4, C5: float [B, channels, H / 8, W / 8], then / 16, then / 32, rounded up.
        """
        c2 = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)


class MobileNetV2Trunk(nn.Module):
    """C3, C4 and C5 of a torchvision MobileNetV2: after its layers 6, 13 and 17.

    Args:
        network: a torchvision `MobileNetV2`; its layers are shared, not copied.
    """

    def __init__(self, network: networks.MobileNetV2) -> None:
        super().__init__()
        self.features = network.features[:18]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Taps after the layers 6, 13 and 17; shapes as `ResNetTrunk.forward`."""
        taps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in (6, 13, 17):
                taps.append(x)
        c3, c4, c5 = taps
        return c3, c4, c5


@dataclass(frozen=True)
class _Backbone:
    network: Callable[..., nn.Module]
    channels: Channels
    trunk: Callable[[Any], nn.Module] = ResNetTrunk


_BASIC: Channels = (128, 256, 512)
_BOTTLENECK: Channels = (512, 1024, 2048)
_BACKBONES = {
    "ResNet18FPN": _Backbone(networks.resnet18, _BASIC),
    "ResNet34FPN": _Backbone(networks.resnet34, _BASIC),
    "ResNet50FPN": _Backbone(networks.resnet50, _BOTTLENECK),
    "ResNet101FPN": _Backbone(networks.resnet101, _BOTTLENECK),
    "ResNet152FPN": _Backbone(networks.resnet152, _BOTTLENECK),
    "ResNeXt50_32x4dFPN": _Backbone(networks.resnext50_32x4d, _BOTTLENECK),
    "ResNeXt101_32x8dFPN": _Backbone(networks.resnext101_32x8d, _BOTTLENECK),
    "MobileNetV2FPN": _Backbone(networks.mobilenet_v2, (32, 96, 320), MobileNetV2Trunk),
}
BACKBONES = tuple(_BACKBONES)


def check_backbone(name: str) -> None:
    """Refuses a name that is not one of `BACKBONES`.

    Raises:
        UsageError: it is not; the message names the nearest.
    """
    if name in _BACKBONES:
        return
    lower = {known.lower(): known for known in BACKBONES}
    near = get_close_matches(name.lower(), lower, n=1)
    hint = f"did you mean {lower[near[0]]}?" if near else f"known: {', '.join(BACKBONES)}"
    raise UsageError(f"unknown backbone {name[:80]!r}", hint=hint)


def build_trunk(name: str) -> tuple[nn.Module, Channels]:
    """Builds the trunk of a backbone, with torchvision's random weights.

    Args:
        name: ODTK's factory name, one of `BACKBONES`.

    Returns:
        A module [B, 3, H, W] -> (C3, C4, C5), and the channels of the three.

    Raises:
        UsageError: the name is unknown.
    """
    check_backbone(name)
    backbone = _BACKBONES[name]
    return backbone.trunk(backbone.network(weights=None)), backbone.channels


def unused_tensors(name: str) -> dict[str, Tensor]:
    """The tensors of ODTK's files that no output depends on.

    Args:
        name: ODTK's factory name, one of `BACKBONES`.

    Returns:
        Tensors without data (device `meta`), by their names inside the trunk, such as `fc.weight`.
    """
    backbone = _BACKBONES[name]
    with without_data():
        network = backbone.network(weights=None)
        used = backbone.trunk(network).state_dict()
    return {key: tensor for key, tensor in network.state_dict().items() if key not in used}
