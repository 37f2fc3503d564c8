"""The end of a bottleneck on the GPU against float64."""

import pytest
import torch
from launches import on_stream

from cuda_ops import BottleneckEnd

pytestmark = pytest.mark.gpu


def random_half(rng, *shape):
    generator = torch.Generator("cuda").manual_seed(int(rng.integers(2**31)))
    return torch.randn(shape, generator=generator, device="cuda").half()


@pytest.fixture
def ends(device):
    ends = BottleneckEnd(device)
    if not ends.fits(64, 256):
        pytest.skip("the GPU is older than the kernel's products")
    return ends


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 33, 64_000, 300_001])
@pytest.mark.parametrize("columns", [256, 512])
@pytest.mark.parametrize("projected", [False, True])
def test_sums_are_rounded_once(device, rng, ends, rows, columns, projected):
    with on_stream(device):
        x, weight = random_half(rng, rows, 64), random_half(rng, columns, 64)
        bias = random_half(rng, columns)
        shortcut = random_half(rng, rows, 64 if projected else columns)
        shortcut_weight = random_half(rng, columns, 64) if projected else None
        out = torch.full((rows + 1, columns), torch.nan, device="cuda").half()
        ends.launch(
            x.data_ptr(), weight.data_ptr(), bias.data_ptr(), shortcut.data_ptr(), out.data_ptr(),
            rows, columns, None if shortcut_weight is None else shortcut_weight.data_ptr(),
        )  # fmt: skip
        device.synchronize()
        assert out[rows].isnan().all()
        for start in range(0, rows, 50_000):
            part = slice(start, start + 50_000)
            added = shortcut[part].double()
            if shortcut_weight is not None:
                added = added @ shortcut_weight.double().T
            exact = (x[part].double() @ weight.double().T + bias.double() + added).relu()
            # Half a unit in the last place, and the float32 sums of up to 130 products.
            error = (out[:rows][part].double() - exact).abs()
            assert (error <= exact * 2**-11 + 2e-4).all()


def test_a_row_depends_on_itself_alone(device, rng, ends):
    with on_stream(device):
        x, weight, bias = (random_half(rng, *shape) for shape in ((999, 64), (256, 64), (256,)))
        shortcut = random_half(rng, 999, 256)
        results = []
        for start in (0, 7):
            out = torch.zeros(999 - start, 256, device="cuda").half()
            ends.launch(
                x[start:].data_ptr(), weight.data_ptr(), bias.data_ptr(),
                shortcut[start:].data_ptr(), out.data_ptr(), 999 - start, 256,
            )  # fmt: skip
            device.synchronize()
            results.append(out)
        assert torch.equal(results[0][7:], results[1])


def test_widths_that_the_kernel_does_not_serve(ends):
    assert ends.fits(64, 512)
    assert not ends.fits(128, 512)
    assert not ends.fits(64, 64)
