"""Writes checkpoints exactly as ODTK does, without any code of the network under test."""

from collections.abc import Sequence

import pytest
import torch
import torchvision.models
from torch import Tensor

from odtk_ray.errors import EXIT_USAGE, UsageError
from odtk_ray.model.checkpoint import load_checkpoint

torch.set_num_threads(1)  # the networks here are too small to share among threads

# factory name: torchvision's name, channels of C3 to C5
TRUNKS = {
    "ResNet18FPN": ("resnet18", (128, 256, 512)),
    "ResNet34FPN": ("resnet34", (128, 256, 512)),
    "ResNet50FPN": ("resnet50", (512, 1024, 2048)),
    "ResNet101FPN": ("resnet101", (512, 1024, 2048)),
    "ResNet152FPN": ("resnet152", (512, 1024, 2048)),
    "ResNeXt50_32x4dFPN": ("resnext50_32x4d", (512, 1024, 2048)),
    "ResNeXt101_32x8dFPN": ("resnext101_32x8d", (512, 1024, 2048)),
    "MobileNetV2FPN": ("mobilenet_v2", (32, 96, 320)),
}
SMALL = "MobileNetV2FPN"
UNUSED = (".features.fc.", ".features.classifier.", "MobileNetV2FPN.features.features.18.")
RATIOS = [1.0, 2.0, 0.5]
SCALES = [4 * 2 ** (i / 3) for i in range(3)]
ANGLES = [-0.5235987755982988, 0.0, 0.5235987755982988]  # pi / 6


def odtk_state(
    backbones: Sequence[str],
    classes: int,
    *,
    anchors: int = 9,
    values: int = 4,
    channels: int = 256,
    counters: bool = False,
) -> dict[str, Tensor]:
    """All tensors of a file; call it under `torch.device("meta")` for the shapes alone."""
    shapes: dict[str, tuple[int, ...]] = {}
    state: dict[str, Tensor] = {}
    for backbone in backbones:
        network, (c3, c4, c5) = TRUNKS[backbone]
        trunk = getattr(torchvision.models, network)(weights=None).state_dict()
        prefix = f"backbones.{backbone}"
        for name, tensor in trunk.items():
            if counters or not name.endswith("num_batches_tracked"):
                state[f"{prefix}.features.{name}"] = trained(name, tensor)
        for level, width in ((3, c3), (4, c4), (5, c5)):
            shapes[f"{prefix}.lateral{level}"] = (channels, width, 1, 1)
            shapes[f"{prefix}.smooth{level}"] = (channels, channels, 3, 3)
        shapes[f"{prefix}.pyramid6"] = (channels, c5, 3, 3)
        shapes[f"{prefix}.pyramid7"] = (channels, channels, 3, 3)
    for head, outputs in (("cls_head", anchors * classes), ("box_head", anchors * values)):
        for layer in (0, 2, 4, 6):
            shapes[f"{head}.{layer}"] = (channels, channels, 3, 3)
        shapes[f"{head}.8"] = (outputs, channels, 3, 3)
    for name, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"{name}.weight"] = torch.randn(shape) * (2 / fan_in) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[0])
    return state


def trained(name: str, tensor: Tensor) -> Tensor:
    """Running statistics that are not 0 and 1, as training leaves them."""
    if name.endswith("running_mean"):
        return torch.randn(tensor.shape) * 0.1
    if name.endswith("running_var"):
        return torch.rand(tensor.shape) + 0.5
    return tensor


def odtk_file(
    backbones: Sequence[str], classes: int, *, rotated: bool = False, **options: int | bool
) -> dict[str, object]:
    """The table that `odtk train` saves, with the states of optimizer and schedule."""
    anchors, values = (27, 6) if rotated else (9, 4)
    state = odtk_state(backbones, classes, **{"anchors": anchors, "values": values, **options})
    content: dict[str, object] = {
        "backbone": list(backbones),
        "classes": classes,
        "state_dict": state,
        "ratios": list(RATIOS),
        "scales": list(SCALES),
        "iteration": 90000,
    }
    if rotated:
        content["angles"] = list(ANGLES)
    if options.get("channels", 256) != 256:
        content["channels"] = options["channels"]
    return content


def training_state() -> dict[str, object]:
    """`optimizer` and `scheduler` as training stores them, of a small stand-in network."""
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.1 ** (step // 2))
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    scheduler.step()
    return {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}


def used(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that some output depends on."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not any(part in name for part in (*UNUSED, "num_batches_tracked"))
    }


def refusal(path) -> str:
    """The message, which must be short and the project's own."""
    with pytest.raises(UsageError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert caught.value.exit_code == EXIT_USAGE
    assert message.startswith(f"cannot use checkpoint {path}: ")
    short = message.replace(str(path), "")
    assert len(short) < 400
    assert short.count("\n") <= 1  # the hint's
    assert "weights_only" not in short
    assert "torch.load" not in short
    return short
