"""Where a launch's time goes on a GPU: every layer's convolution, and what is beside it.

The network runs as the engine's CUDA graph does, under torch's profiler and without the graph, so
that kernels are known by their layers. Beside each layer stands the time of its convolution alone,
with bias and ReLU in one cuDNN kernel. `memory` is what a layer reads and writes once, over its
time, against the rate of a copy on the same device.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from biased import write_biased_model
from engine import INPUTS, SHAPE, Ours, milliseconds
from gpu_time import copy_rate, kernel_time
from measure import machine, table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from odtk_ray.engines.kernel_layers import BiasedConv, PoolKernel
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.fused import ConvAddReLU, ConvReLU, PoolAddReLU, conv_relu

LEAVES = (ConvReLU, ConvAddReLU, BiasedConv, PoolAddReLU, PoolKernel, nn.Conv2d)
MARK = "layer:"
# Names that are kernels of a convolution or of what it needs; all others are passes over memory.
CONVOLUTION = ("conv", "fprop", "gemm", "xmma", "cutlass", "nvjet")


@dataclass
class Layer:
    """What is known of one layer: sums over all its calls in one launch.

    Attributes:
        convolution: ms in convolution kernels.
        other: ms in other kernels, by name.
        alone: ms of its convolutions alone.
        flops: of its convolutions.
        moved: bytes of inputs, weights and outputs.
    """

    convolution: float = 0.0
    other: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    alone: float = 0.0
    flops: float = 0.0
    moved: float = 0.0

    @property
    def beside(self) -> float:
        """Milliseconds in other kernels."""
        return sum(self.other.values())

    def add(self, more: Layer) -> None:
        """Add another layer's figures."""
        self.convolution += more.convolution
        self.alone += more.alone
        self.flops += more.flops
        self.moved += more.moved
        for name, time in more.other.items():
            self.other[name] += time


def leaves(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that are looked at, by name; none lies within another."""
    for name, child in model.named_children():
        if isinstance(child, LEAVES):
            yield prefix + name, child
        else:
            yield from leaves(child, f"{prefix}{name}.")


def group(name: str) -> str:
    """Return the part of the network that a layer belongs to."""
    for part in ("layer1", "layer2", "layer3", "layer4", "lateral", "smooth", "pyramid"):
        if part in name:
            return part
    if "cls_head" in name or "box_head" in name:
        return (
            f"{name.partition('.')[0]}, {'the last' if name.endswith('.4') else 'the first four'}"
        )
    return "stem"


def convolution_of(layer: nn.Module) -> nn.Conv2d | None:
    """Return a layer's convolution."""
    if isinstance(layer, nn.Conv2d):
        return layer
    return getattr(layer, "conv", None)


def alone(conv: nn.Conv2d, x: Tensor) -> float:
    """Measure a convolution with bias and ReLU in one kernel, ms."""
    bias = torch.zeros(conv.out_channels, dtype=x.dtype, device=x.device)
    stride, padding = list(conv.stride), [int(side) for side in conv.padding]

    def call() -> Tensor:
        return conv_relu(x, conv.weight, bias, stride, padding)

    return kernel_time(call)


class Marks:
    """Names each layer's operators in the profile, and notes what the layers move."""

    def __init__(self, model: nn.Module) -> None:
        self.layers: dict[str, Layer] = {}
        self.calls: list[tuple[str, nn.Conv2d, Tensor]] = []
        self._open: list[contextlib.ExitStack] = []
        for name, layer in leaves(model):
            self.layers[name] = Layer()
            layer.register_forward_pre_hook(self._begin(name))
            layer.register_forward_hook(self._end(name))

    def _begin(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object) -> None:
            self._open.append(contextlib.ExitStack())
            self._open[-1].enter_context(record_function(MARK + name))

        return hook

    def _end(self, name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._open.pop().close()
            conv, about = convolution_of(layer), self.layers[name]
            about.moved += sum(t.numel() * t.element_size() for t in (*inputs, output))
            if conv is not None:
                about.moved += conv.weight.numel() * conv.weight.element_size()
                about.flops += 2 * output.numel() * conv.weight[0].numel()
                self.calls.append((name, conv, inputs[0]))

        return hook


def kernels(event: Any) -> Iterator[tuple[str, float]]:
    """Yield names and milliseconds of the kernels below an event of the profiler."""
    for kernel in event.kernels:
        yield kernel.name, kernel.duration / 1e3
    for child in event.cpu_children:
        yield from kernels(child)


def sort_kernels(events: Iterable[Any], layers: dict[str, Layer]) -> Layer:
    """Add the kernels' times to their layers; return those of no layer."""
    rest = Layer()
    for event in events:
        if event.name.startswith(MARK):
            about = layers[event.name.removeprefix(MARK)]
        elif event.cpu_parent is None:
            about = rest
        else:
            continue
        for name, time in kernels(event):
            if name.startswith("spin"):  # it only fills the queue
                continue
            if any(part in name.lower() for part in CONVOLUTION):
                about.convolution += time
            else:
                about.other[name] += time
    return rest


def without_layers(events: Iterable[Any]) -> Iterator[Any]:
    """Yield the events outside all layers, and the layers' own."""
    for event in events:
        if event.device_type.name != "CPU":
            continue
        parent = event.cpu_parent
        while parent is not None and not parent.name.startswith(MARK):
            parent = parent.cpu_parent
        if parent is None:
            yield event


def look(engine: Ours) -> tuple[dict[str, Layer], Layer]:
    """Profile one launch; return the network's layers, and what belongs to none."""
    step = engine.step
    with torch.inference_mode(), torch.cuda.stream(engine.stream):
        marks = Marks(step._network)  # type: ignore[arg-type]
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            torch.cuda._sleep(200_000_000)  # type: ignore[no-untyped-call]
            step.compute()
            torch.cuda.synchronize()
        rest = sort_kernels(without_layers(profiler.events()), marks.layers)
        for name, conv, x in marks.calls:
            if x.shape[1] % 8 == 0 and conv.out_channels % 8 == 0:
                marks.layers[name].alone += alone(conv, x)
            else:
                marks.layers[name].alone += kernel_time(plain(conv, x))
    return marks.layers, rest


def plain(conv: nn.Conv2d, x: Tensor) -> Callable[[], Tensor]:
    """Return a call of a convolution alone, for which cuDNN has no kernel with a ReLU."""
    stride, padding = list(conv.stride), [int(side) for side in conv.padding]
    return lambda: torch.conv2d(x, conv.weight, None, stride, padding)


def rows(layers: dict[str, Layer], rest: Layer, rate: float, *, each: bool) -> list[list[str]]:
    """Format the table: groups of layers, or each layer."""
    shown: dict[str, Layer] = {}
    for name, about in layers.items():
        shown.setdefault(name if each else group(name), Layer()).add(about)
    shown["outside of layers"] = rest
    total = Layer()
    for about in shown.values():
        total.add(about)
    shown["sum"] = total
    lines = [["", "convolutions, ms", "alone, ms", "TFLOP/s", "beside, ms", "MB", "memory"]]
    for name, about in shown.items():
        time = about.convolution + about.beside
        speed = about.flops / about.convolution / 1e9 if about.convolution else 0
        share = about.moved / rate / (time / 1e3) if time else 0
        times = (f"{ms:.3f}" for ms in (about.convolution, about.alone))
        other = f"{about.beside:.3f}"
        lines.append(
            [name, *times, f"{speed:.0f}", other, f"{about.moved / 1e6:,.0f}", f"{share:.0%}"]
        )
    return lines


def beside(layers: dict[str, Layer], rest: Layer) -> list[list[str]]:
    """Format the kernels beside the convolutions, the longest first."""
    found: dict[str, float] = defaultdict(float)
    for name, about in (*layers.items(), ("outside of layers", rest)):
        for kernel, time in about.other.items():
            found[f"{group(name) if about is not rest else name}: {kernel[:90]}"] += time
    longest = sorted(found.items(), key=lambda item: -item[1])[:25]
    return [["kernels beside the convolutions", "ms"], *([n, f"{t:.3f}"] for n, t in longest)]


@click.command(help=__doc__.splitlines()[0])
@click.option("--batch", type=click.IntRange(1), multiple=True, default=[8, 32], show_default=True)
@click.option("--launches", type=click.IntRange(1), default=30, show_default=True)
@click.option("--each", is_flag=True, help="Every layer instead of groups.")
def main(batch: tuple[int, ...], launches: int, each: bool) -> None:
    print(f"{machine()}; {torch.cuda.get_device_name()}")
    rate = copy_rate()
    print(f"a copy on the device: {rate / 1e12:.2f} TB/s")
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as folder:
        path = Path(folder) / "model.pth"
        generator = torch.Generator("cuda").manual_seed(0)
        write_biased_model(path, torch.randn(2, 3, *SHAPE, generator=generator, device="cuda"))
        checkpoint = load_checkpoint(path)
    for size in batch:
        inputs = [
            torch.randn(size, 3, *SHAPE, generator=generator, device="cuda", dtype=torch.float16)
            .contiguous(memory_format=torch.channels_last)
            for _ in range(INPUTS)
        ]  # fmt: skip
        engine = Ours(checkpoint, size, compile_it=False)
        times = milliseconds(engine, engine.feed, inputs, engine.stream, launches)
        launch = statistics.median(times)
        layers, rest = look(engine)
        lines = rows(layers, rest, rate, each=each)
        print(f"\nbatch {size}: a launch {launch:.2f} ms, {size / launch * 1e3:.0f} img/s; "
              f"kernels of one launch by itself:\n", table(lines), "", sep="\n")  # fmt: skip
        print(table(beside(layers, rest)), flush=True)


if __name__ == "__main__":
    main()
