"""The network: ODTK's names and sizes, and its wiring against a plain re-computation."""

import pytest
import torch
import torch.nn.functional as F
from odtk_files import odtk_state, used
from torch import Tensor

from odtk_ray.errors import UsageError
from odtk_ray.model.backbones import BACKBONES, unused_tensors
from odtk_ray.model.retinanet import RetinaNet

# factory, keys with BatchNorm2d, keys as training saves them, parameters with the unused ones
TABLE = [
    ("ResNet18FPN", 158, 138, 21_923_100),
    ("ResNet34FPN", 254, 218, 32_031_260),
    ("ResNet50FPN", 356, 303, 40_017_692),
    ("ResNet101FPN", 662, 558, 59_009_820),
    ("ResNet152FPN", 968, 813, 74_653_468),
    ("ResNeXt50_32x4dFPN", 356, 303, 39_489_564),
    ("ResNeXt101_32x8dFPN", 662, 558, 103_251_996),
    ("MobileNetV2FPN", 350, 298, 13_181_404),
]


def load(state: dict[str, Tensor], backbones: list[str], classes: int, **options) -> RetinaNet:
    with torch.device("meta"):
        model = RetinaNet(backbones, classes, **options)
    model.load_state_dict(used(state), assign=True)
    return model.eval().requires_grad_(False)


def test_every_backbone_is_in_the_table():
    assert tuple(row[0] for row in TABLE) == BACKBONES


@pytest.mark.parametrize(("name", "keys", "fixed_keys", "parameters"), TABLE)
def test_names_shapes_and_sizes_are_odtks(name, keys, fixed_keys, parameters):
    with torch.device("meta"):
        network = RetinaNet([name], 80)
        written = odtk_state([name], 80, counters=True)
    prefix = f"backbones.{name}.features."
    ours = network.state_dict() | {prefix + k: t for k, t in unused_tensors(name).items()}
    assert {k: t.shape for k, t in ours.items()} == {k: t.shape for k, t in written.items()}
    assert len(ours) == keys
    fixed = [k for k in ours if not k.endswith("num_batches_tracked")]
    assert len(fixed) == fixed_keys
    assert sum(ours[k].numel() for k in fixed if "running_" not in k) == parameters


@pytest.mark.parametrize("name", ["ResNet18FPN", "MobileNetV2FPN"])
def test_unused_layers_are_not_in_the_network(name):
    with torch.device("meta"):
        state = RetinaNet([name], 2).state_dict()
    assert not any("fc" in k or "classifier" in k or "features.18" in k for k in state)


def test_unknown_backbone_suggests_the_nearest():
    with pytest.raises(UsageError, match="did you mean ResNeXt50_32x4dFPN"):
        RetinaNet(["resnext50-32x4d-fpn"], 2)
    with pytest.raises(UsageError, match="known: ResNet18FPN, ResNet34FPN"):
        RetinaNet(["yolo"], 2)


@pytest.mark.parametrize(
    ("batch", "anchors", "box_values"), [(0, 9, 4), (1, 9, 4), (2, 27, 6)], ids=str
)
def test_output_shapes(batch, anchors, box_values):
    torch.manual_seed(0)
    options = {"anchors": anchors, "box_values": box_values, "channels": 16}
    model = RetinaNet(["MobileNetV2FPN"], 5, **options).eval()
    with torch.inference_mode():
        logits, deltas = model(torch.zeros(batch, 3, 256, 384))
    # 256 x 384 divided by 8, 16, 32, 64, 128
    sizes = [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert model.strides == (8, 16, 32, 64, 128)
    assert [tuple(t.shape) for t in logits] == [(batch, anchors * 5, *size) for size in sizes]
    assert [tuple(t.shape) for t in deltas] == [
        (batch, anchors * box_values, *size) for size in sizes
    ]


# --- the same network, written down with torch.nn.functional from the raw tensors ---


def conv(s: dict[str, Tensor], name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = s[f"{name}.weight"]
    groups = x.shape[1] // weight.shape[1]
    return F.conv2d(x, weight, s.get(f"{name}.bias"), stride, weight.shape[2] // 2, groups=groups)


def norm(s: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, var, gain, shift = (
        s[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(var + 1e-5) * gain + shift


def resnet(s: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    x = F.relu(norm(s, "bn1", conv(s, "conv1", x, 2)))
    x = F.max_pool2d(x, 3, 2, 1)
    taps = []
    for layer in (1, 2, 3, 4):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in s:
            p = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            if f"{p}.conv3.weight" in s:  # bottleneck: the stride is in the 3x3 convolution
                y = F.relu(norm(s, f"{p}.bn1", conv(s, f"{p}.conv1", x)))
                y = F.relu(norm(s, f"{p}.bn2", conv(s, f"{p}.conv2", y, stride)))
                y = norm(s, f"{p}.bn3", conv(s, f"{p}.conv3", y))
            else:
                y = F.relu(norm(s, f"{p}.bn1", conv(s, f"{p}.conv1", x, stride)))
                y = norm(s, f"{p}.bn2", conv(s, f"{p}.conv2", y))
            if f"{p}.downsample.0.weight" in s:
                x = norm(s, f"{p}.downsample.1", conv(s, f"{p}.downsample.0", x, stride))
            x = F.relu(x + y)
            block += 1
        taps.append(x)
    return taps[1:]


def mobilenet(s: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    x = F.relu6(norm(s, "features.0.1", conv(s, "features.0.0", x, 2)))
    y = F.relu6(norm(s, "features.1.conv.0.1", conv(s, "features.1.conv.0.0", x)))
    x = norm(s, "features.1.conv.2", conv(s, "features.1.conv.1", y))
    taps = []
    for layer in range(2, 18):
        p = f"features.{layer}.conv"
        stride = 2 if layer in (2, 4, 7, 14) else 1
        y = F.relu6(norm(s, f"{p}.0.1", conv(s, f"{p}.0.0", x)))
        y = F.relu6(norm(s, f"{p}.1.1", conv(s, f"{p}.1.0", y, stride)))
        y = norm(s, f"{p}.3", conv(s, f"{p}.2", y))
        x = x + y if stride == 1 and x.shape == y.shape else y
        if layer in (6, 13, 17):
            taps.append(x)
    return taps


def twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def head(s: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    for layer in (0, 2, 4, 6):
        x = F.relu(conv(s, f"{name}.{layer}", x))
    return conv(s, f"{name}.8", x)


def below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}


def reference(state: dict[str, Tensor], backbone: str, x: Tensor) -> list[Tensor]:
    s = below(state, f"backbones.{backbone}.")
    trunk = mobilenet if backbone == "MobileNetV2FPN" else resnet
    c3, c4, c5 = trunk(below(s, "features."), x)
    p5 = conv(s, "lateral5", c5)
    p4 = conv(s, "lateral4", c4) + twice(p5)
    p3 = conv(s, "lateral3", c3) + twice(p4)
    p6 = conv(s, "pyramid6", c5, 2)
    p7 = conv(s, "pyramid7", F.relu(p6), 2)
    levels = [conv(s, "smooth3", p3), conv(s, "smooth4", p4), conv(s, "smooth5", p5), p6, p7]
    return [head(state, name, level) for name in ("cls_head", "box_head") for level in levels]


def assert_same(got: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert b.std() > 1e-3  # the comparison is about something
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("backbone", ["ResNet18FPN", "ResNeXt50_32x4dFPN", "MobileNetV2FPN"])
def test_wiring(backbone):
    torch.manual_seed(1)
    state = odtk_state([backbone], 3, channels=32)
    model = load(state, [backbone], 3, channels=32)
    x = torch.randn(2, 3, 128, 256)
    with torch.inference_mode():
        logits, deltas = model(x)
        assert_same(logits + deltas, reference(state, backbone, x))


def test_two_backbones_share_the_heads():
    torch.manual_seed(2)
    names = ["MobileNetV2FPN", "ResNet18FPN"]
    state = odtk_state(names, 3, channels=16)
    model = load(state, names, 3, channels=16)
    x = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        logits, deltas = model(x)
        wanted = [reference(state, name, x) for name in names]
    assert model.strides == (8, 16, 32, 64, 128) * 2
    assert_same(logits, wanted[0][:5] + wanted[1][:5])
    assert_same(deltas, wanted[0][5:] + wanted[1][5:])
