"""The 3x3 convolutions of RetinaNet's heads in FP8 (E4M3) beside FP16, on a Hopper GPU.

A prototype, on which nothing is built: one head layer of 256 channels at P3 and P4, and the class
head's last layer, through cuDNN, through a kernel in Triton, and as plain products of matrices of
the same shape. The package nvidia-cudnn-frontend adds cuDNN in FP8 if it is installed. What the
precision costs is in fp8_error.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
import torch
from gpu_time import kernel_time
from measure import machine, table
from torch import Tensor

CHANNELS = 256
FP8, FP16 = torch.float8_e4m3fn, torch.float16
LARGEST = 448.0  # of E4M3
WRONG = 0.1  # error over the greatest value; an output in E4M3 has up to 0.043


@dataclass(frozen=True)
class Layer:
    """A layer at one level of the pyramid.

    Attributes:
        name: for the table.
        size: height and width of the level.
        outputs: channels of the output.
        relu: whether it ends in ReLU, and its output is the next layer's input.
        calls: how often a launch computes it, in both heads.
    """

    name: str
    size: tuple[int, int]
    outputs: int
    relu: bool
    calls: int


LAYERS = (
    Layer("P3, 256 to 256", (100, 160), CHANNELS, True, 8),
    Layer("P4, 256 to 256", (50, 80), CHANNELS, True, 8),
    Layer("P3, 256 to 736", (100, 160), 736, False, 1),
    Layer("P4, 256 to 736", (50, 80), 736, False, 1),
)


@dataclass
class Case:
    """A layer's data in both precisions, on the GPU.

    Attributes:
        layer: which one.
        x: FP16 [B, 256, H, W], channels-last, as behind a ReLU.
        weight: FP16 [N, 256, 3, 3], channels-last.
        bias: float32 [N].
        x8: E4M3, x over its scale.
        weight8: E4M3, the weights over their scales.
        scale: float32 [N], what a product of codes counts.
        y_scale: the output's scale, as one code counts.
    """

    layer: Layer
    x: Tensor
    weight: Tensor
    bias: Tensor
    x8: Tensor
    weight8: Tensor
    scale: Tensor
    y_scale: float

    @property
    def flops(self) -> float:
        """Operations of the convolution."""
        batch, channels, height, width = self.x.shape
        return 2.0 * batch * height * width * channels * 9 * self.layer.outputs

    @property
    def size(self) -> tuple[int, int, int]:
        """Pictures, height and width."""
        return (len(self.x), *self.layer.size)

    def expected(self, picture: int, *, fp8: bool) -> Tensor:
        """Compute a picture's output in FP32, from what E4M3 or FP16 holds: [1, N, H, W]."""
        x, weight = (self.x8, self.weight8) if fp8 else (self.x, self.weight)
        weight = weight.float()
        if fp8:
            weight = weight * self.scale.view(-1, 1, 1, 1)
        y = torch.conv2d(x[picture : picture + 1].float(), weight, self.bias, padding=1)
        return y.relu() if self.layer.relu else y


def make_case(layer: Layer, batch: int) -> Case:
    """Draw a layer's data: noise behind a ReLU, and weights that keep its spread."""
    generator = torch.Generator("cuda").manual_seed(0)

    def noise(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=generator, device="cuda")
        return drawn.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else drawn

    x = noise(batch, CHANNELS, *layer.size).relu_().half()
    weight = (noise(layer.outputs, CHANNELS, 3, 3) * (2 / (9 * CHANNELS)) ** 0.5).half()
    bias = noise(layer.outputs) / 10
    x_scale = x.max().float() / LARGEST
    scales = weight.float().abs().amax((1, 2, 3), keepdim=True) / LARGEST
    x8, weight8 = (x.float() / x_scale).to(FP8), (weight.float() / scales).to(FP8)
    case = Case(layer, x, weight, bias, x8, weight8, (x_scale * scales).flatten(), 1.0)
    case.y_scale = float(case.expected(0, fp8=True).abs().max()) * 1.2 / LARGEST
    return case


@dataclass(frozen=True)
class Variant:
    """A way to compute a case.

    Attributes:
        name: for the table.
        call: computes all of it.
        picture: returns its last output as float32 [1, N, H, W] of a picture; None: not checked.
        complete: whether it could be the layer: cuDNN in FP16, or FP8 whose output the next layer
            reads as it is.
    """

    name: str
    call: Callable[[], Any]
    picture: Callable[[int], Tensor] | None = None
    complete: bool = False


def cudnn_fp16(case: Case) -> Variant:
    """Return cuDNN in FP16, as `odtk_ray/model/fused.py` calls it."""
    bias, kept = case.bias.half(), [case.x]

    def call() -> Tensor:
        if case.layer.relu:
            y = torch.cudnn_convolution_relu(case.x, case.weight, bias, (1, 1), (1, 1), (1, 1), 1)
        else:  # the bias is added by what reads the output
            y = torch.conv2d(case.x, case.weight, None, padding=1)
        kept[0] = y
        return y

    def picture(index: int) -> Tensor:
        y = kept[0][index : index + 1].float()
        return y if case.layer.relu else y + case.bias.view(-1, 1, 1)

    return Variant("FP16, cuDNN", call, picture, complete=True)


def triton_conv(case: Case, numbers: tuple[int, ...], dtype: torch.dtype) -> Variant:
    """Return the Triton kernel: input of a dtype, whose output is the same, or logits in FP16."""
    from fp8_conv import Tiles, TritonConv, from_rows, to_rows

    tiles, fp8 = Tiles(*numbers), dtype == FP8
    out = dtype if case.layer.relu else FP16
    y_scale = case.y_scale if out == FP8 else 1.0
    scale = case.scale if fp8 else torch.ones_like(case.scale)
    x, weight = (case.x8, case.weight8) if fp8 else (case.x, case.weight)
    conv = TritonConv(
        to_rows(x), weight, scale / y_scale, case.bias / y_scale, case.size, tiles,
        dtype=out, relu=case.layer.relu,
    )  # fmt: skip

    def picture(index: int) -> Tensor:
        pixels = len(conv.output) // len(case.x)
        part = conv.output[index * pixels : (index + 1) * pixels]
        return from_rows(part, (1, *case.layer.size)).float() * y_scale

    name = f"{'FP8' if fp8 else 'FP16'}, Triton, {tiles}"
    return Variant(name, conv, picture, complete=fp8)


def cudnn_fp8(case: Case, out: torch.dtype) -> Variant:
    """Return cuDNN in FP8 with an output of a dtype."""
    from fp8_cudnn import CudnnConv

    y_scale = case.y_scale if out == FP8 else 1.0
    conv = CudnnConv(
        case.x8, case.weight8, case.scale / y_scale, case.bias / y_scale,
        dtype=out, relu=case.layer.relu,
    )  # fmt: skip

    def picture(index: int) -> Tensor:
        return conv.output[index : index + 1].float() * y_scale

    name = f"FP8, cuDNN, {'E4M3' if out == FP8 else 'FP16'} out"
    return Variant(name, conv, picture, complete=out == FP8 or not case.layer.relu)


def product(case: Case, dtype: torch.dtype) -> Variant:
    """Return the product of matrices of the convolution's shape, by cuBLAS."""
    batch, height, width = case.size
    shape = batch * height * width, 9 * CHANNELS
    a = torch.randn(shape, device="cuda", dtype=FP16).relu_()
    b = torch.randn(case.layer.outputs, shape[1], device="cuda", dtype=FP16) / 48
    if dtype == FP16:
        return Variant("FP16, torch.mm", lambda: torch.mm(a, b.t()))
    a8, b8 = a.to(FP8), b.to(FP8)
    one = torch.ones((), device="cuda")

    def call() -> Tensor:
        return torch._scaled_mm(a8, b8.t(), one, one, out_dtype=FP16, use_fast_accum=True)

    return Variant("FP8, torch._scaled_mm", call)


# rows, outputs, depth, stages, warps, resident blocks: an output in FP16 takes the room of a stage.
TILES8 = (
    (128, 256, 128, 3, 8, 1),
    (128, 256, 128, 4, 8, 1),
    (256, 128, 128, 4, 8, 1),
    (128, 128, 128, 3, 4, 2),
    (128, 256, 64, 4, 8, 1),
)
TILES8_TO_16 = ((128, 256, 128, 3, 8, 1), (256, 128, 128, 3, 8, 1), (128, 128, 128, 2, 4, 2))
TILES16 = ((128, 256, 64, 3, 8, 1), (256, 128, 64, 3, 8, 1))


def variants(case: Case) -> Iterator[Callable[[], Variant]]:
    """Yield what makes the variants, FP16 first; each may fail by itself."""
    yield partial(cudnn_fp16, case)
    for numbers in TILES16:
        yield partial(triton_conv, case, numbers, FP16)
    for numbers in TILES8 if case.layer.relu else TILES8_TO_16:
        yield partial(triton_conv, case, numbers, FP8)
    for out in (FP8, FP16) if case.layer.relu else (FP16,):
        yield partial(cudnn_fp8, case, out)
    yield partial(product, case, FP16)
    yield partial(product, case, FP8)


def measure(case: Case, variant: Variant) -> tuple[float, float | None]:
    """Return a variant's ms, and its greatest error over the greatest value."""
    variant.call()
    error = None
    if variant.picture is not None:
        error = 0.0
        for index in (0, len(case.x) - 1):
            expected = case.expected(index, fp8=variant.name.startswith("FP8"))
            off = (variant.picture(index) - expected).abs().max() / expected.abs().max()
            error = max(error, float(off))
    return kernel_time(variant.call), error


def gain(case: Case) -> float:
    """Print the table of a layer; return what the best of FP8 saves of a launch, ms, or NaN."""
    layer = case.layer
    times: dict[str, list[float]] = {"FP16, cuDNN": [], "FP8": []}
    rows = [[layer.name, "ms", "TFLOP/s", "error"]]
    for make in variants(case):
        try:
            variant = make()
            time, error = measure(case, variant)
        except Exception as reason:  # one way that fails must not hide the others
            print(f"{layer.name}: {type(reason).__name__}: {str(reason)[:300]}")
            continue
        speed, shown = case.flops / time / 1e9, "" if error is None else f"{error:.2%}"
        rows.append([variant.name, f"{time:.3f}", f"{speed:.0f}", shown])
        if variant.complete and error is not None and error < WRONG:
            times.setdefault(variant.name, times["FP8"]).append(time)
    print("", table(rows), sep="\n", flush=True)
    torch.cuda.empty_cache()
    before, after = (min(found, default=math.nan) for found in (times["FP16, cuDNN"], times["FP8"]))
    return (before - after) * layer.calls


@click.command(help=__doc__.splitlines()[0])
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True)
@click.option("--launch", default=31.1, show_default=True, help="A launch in FP16, ms.")
def main(batch: int, launch: float) -> None:
    print(f"{machine()}; {torch.cuda.get_device_name()}; batch {batch}")
    torch.backends.cudnn.allow_tf32 = False
    saved = {layer.name: gain(make_case(layer, batch)) for layer in LAYERS}
    print()
    for name, less in saved.items():
        print(f"{name}: {less:.2f} ms of a launch less")
    left = launch - sum(saved.values())
    print(f"a launch of {launch:.1f} ms would take {left:.1f}: {launch / left - 1:+.1%} images/s")


if __name__ == "__main__":
    main()
