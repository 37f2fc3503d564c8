"""The network whose steps between convolutions are kernels: the bits of torch's steps."""

import pytest
import torch

import cuda_ops
from odtk_ray.engines.gpu_network import fused, load_network, padded
from odtk_ray.engines.kernel_layers import Bottleneck, Pyramid, with_kernels
from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint
from odtk_ray.model.retinanet import RetinaNet

pytestmark = pytest.mark.gpu


def with_zeros(batch):
    """The batch with a fourth channel of zeros, channels last."""
    batch = torch.nn.functional.pad(batch, (0, 0, 0, 0, 0, 1))
    return batch.contiguous(memory_format=torch.channels_last)


def write_model(path, backbone, channels):
    """A checkpoint whose biases and normalisations are all different from nothing."""
    torch.manual_seed(0)
    model = RetinaNet([backbone], 3, channels=channels).eval().requires_grad_(False)
    for name, tensor in [*model.named_buffers(), *model.named_parameters()]:
        if name.endswith("bias") or name.endswith("running_mean"):
            tensor.normal_(0, 0.3)
    save_checkpoint(path, model, ratios=[0.5, 1, 2], scales=[4, 5, 6])
    return load_checkpoint(path)


@pytest.mark.parametrize("full_precision", [False, True])
@pytest.mark.parametrize(
    ("backbone", "channels", "kernels"),
    [
        ("ResNet18FPN", 256, True),
        ("MobileNetV2FPN", 64, True),
        ("ResNeXt50_32x4dFPN", 64, True),
        ("ResNet18FPN", 36, False),  # they fill no vectors of eight
    ],
)
def test_the_bits_are_those_of_the_fused_network(
    tmp_path, full_precision, backbone, channels, kernels
):
    checkpoint = write_model(tmp_path / "model.pth", backbone, channels)
    model = fused(load_network(checkpoint, full_precision=full_precision))
    device = cuda_ops.Device()
    batch = torch.randn(2, 3, 256, 384, device="cuda", dtype=next(model.parameters()).dtype)
    batch = batch.contiguous(memory_format=torch.channels_last)
    if not full_precision:
        model, batch = padded(model), with_zeros(batch)
    stream = torch.cuda.ExternalStream(device.stream)
    torch.cuda.synchronize()
    with torch.inference_mode(), torch.cuda.stream(stream):
        network, biases = with_kernels(model, device)
        assert isinstance(network.backbones[backbone], Pyramid) == (kernels or full_precision)
        for wanted, found, bias in zip(model(batch), network(batch), biases, strict=True):
            added = torch.from_numpy(bias).cuda().view(-1, 1, 1)
            for level, other in zip(wanted, found, strict=True):
                assert torch.equal(level, other + added)
    device.synchronize()
    device.close()


@pytest.mark.parametrize("backbone", ["ResNet50FPN", "ResNeXt50_32x4dFPN", "MobileNetV2FPN"])
def test_the_heads_are_as_near_to_the_truth(tmp_path, backbone):
    """Half precision with and without padded input and kernels against full precision."""
    checkpoint = write_model(tmp_path / "model.pth", backbone, 256)
    device = cuda_ops.Device()
    stream = torch.cuda.ExternalStream(device.stream)
    batch = torch.randn(2, 3, 256, 384, device="cuda").contiguous(memory_format=torch.channels_last)
    torch.cuda.synchronize()
    with torch.inference_mode(), torch.cuda.stream(stream):
        exact = load_network(checkpoint, full_precision=True)(batch)
        model = fused(load_network(checkpoint, full_precision=False))
        network, biases = with_kernels(padded(model), device)
        if backbone == "ResNet50FPN":
            kinds = [type(module) for module in network.modules()]
            served = 3 if device.capability >= (8, 0) else 0
            assert kinds.count(Bottleneck) == served
        plain, joined = model(batch.half()), network(with_zeros(batch.half()))
        for truth, one, other, bias in zip(exact, plain, joined, biases, strict=True):
            added = torch.from_numpy(bias).cuda().view(-1, 1, 1)
            for level, before, now in zip(truth, one, other, strict=True):
                error = (before - level).abs().mean()
                complete = (now + added)[:, : level.shape[1]]  # without the further channels
                assert (complete - level).abs().mean() < 1.2 * error + 1e-4
    device.synchronize()
    device.close()
