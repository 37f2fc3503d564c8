"""The network whose steps between convolutions are kernels: the bits of torch's steps."""

import pytest
import torch

import cuda_ops
from odtk_ray.engines.gpu_network import fused, load_network
from odtk_ray.engines.kernel_layers import Pyramid, with_kernels
from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint
from odtk_ray.model.retinanet import RetinaNet

pytestmark = pytest.mark.gpu


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
        ("ResNet50FPN", 256, True),
        ("MobileNetV2FPN", 64, True),
        ("ResNet18FPN", 36, False),  # they fill no vectors of eight
    ],
)
def test_the_bits_are_those_of_the_fused_network(
    tmp_path, full_precision, backbone, channels, kernels
):
    model = fused(
        load_network(
            write_model(tmp_path / "model.pth", backbone, channels), full_precision=full_precision
        )
    )
    device = cuda_ops.Device()
    batch = torch.randn(2, 3, 256, 384, device="cuda", dtype=next(model.parameters()).dtype)
    batch = batch.contiguous(memory_format=torch.channels_last)
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
