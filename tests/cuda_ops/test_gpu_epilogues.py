"""The steps between convolutions on the GPU: the bits of torch's steps, one after the other."""

import math

import pytest
import torch
import torch.nn.functional as F
from launches import on_stream

from cuda_ops import Epilogues

pytestmark = pytest.mark.gpu

SHAPES = [(1, 8, 2, 2), (3, 64, 12, 20), (2, 256, 50, 34), (5, 24, 6, 130)]
ODD_SHAPES = [(1, 8, 1, 1), (2, 64, 13, 21), (3, 16, 1, 40), (2, 72, 31, 2)]


def random_tensor(rng, shape, dtype, odd=False):
    """channels_last values, some of them special where `odd`."""
    generator = torch.Generator("cuda").manual_seed(int(rng.integers(2**31)))
    values = torch.randn(shape, generator=generator, device="cuda") * 3
    if odd:
        special = torch.tensor([torch.nan, torch.inf, -torch.inf, 65504.0, 6e-8, 0.0])
        index = torch.randint(40, shape, generator=generator, device="cuda")
        values = torch.where(index < 6, special.cuda()[index.clamp(max=5)], values)
    values = values.to(getattr(torch, dtype))
    return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values


def same(one, other):
    """Whether two tensors have the same values, NaN included."""
    return torch.equal(one.isnan(), other.isnan()) and torch.equal(
        one.nan_to_num(0), other.nan_to_num(0)
    )


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [*SHAPES, *ODD_SHAPES])
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize(
    ("limit", "relu"), [(None, lambda x: x), (6.0, F.relu6), (math.inf, F.relu)]
)
def test_a_bias_is_added_as_torch_adds_it(device, rng, dtype, shape, odd, limit, relu):
    with on_stream(device):
        x, bias = random_tensor(rng, shape, dtype, odd), random_tensor(rng, shape[1:2], dtype)
        expected = relu(x + bias.view(-1, 1, 1))
        Epilogues(device, dtype).add_bias(x.data_ptr(), bias.data_ptr(), x.shape, limit=limit)
        device.synchronize()
        assert same(x, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("odd", [False, True])
def test_the_level_above_is_repeated_and_added(device, rng, dtype, shape, odd):
    batch, channels, height, width = shape
    with on_stream(device):
        x, bias = random_tensor(rng, shape, dtype, odd), random_tensor(rng, shape[1:2], dtype)
        above = random_tensor(rng, (batch, channels, height // 2, width // 2), dtype, odd)
        repeated = F.interpolate(above, scale_factor=2.0, mode="nearest")
        expected = repeated + (x + bias.view(-1, 1, 1))
        epilogues = Epilogues(device, dtype)
        epilogues.add_bias(x.data_ptr(), bias.data_ptr(), shape, above=above.data_ptr())
        device.synchronize()
        assert same(x, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [*SHAPES, *ODD_SHAPES])
@pytest.mark.parametrize("odd", [False, True])
def test_the_pool_is_torchs_with_bias_and_relu(device, rng, dtype, shape, odd):
    with on_stream(device):
        x, bias = random_tensor(rng, shape, dtype, odd), random_tensor(rng, shape[1:2], dtype)
        expected = (F.max_pool2d(x, 3, 2, 1) + bias.view(-1, 1, 1)).relu()
        found = torch.full_like(expected, torch.nan, memory_format=torch.channels_last)
        epilogues = Epilogues(device, dtype)
        epilogues.pool(x.data_ptr(), bias.data_ptr(), found.data_ptr(), shape)
        device.synchronize()
        assert same(found, expected)


def test_what_does_not_fit_is_refused(device):
    epilogues = Epilogues(device, "float16")
    assert epilogues.fits(64)
    assert not epilogues.fits(12)
    with pytest.raises(ValueError, match="12 channels do not fill vectors of 8"):
        epilogues.add_bias(0, 0, (1, 12, 2, 2))
    with pytest.raises(ValueError, match="3x4 is not twice the size of a level above"):
        epilogues.add_bias(0, 0, (1, 16, 3, 4), above=256)
