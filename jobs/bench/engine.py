"""Network, decoding and NMS on a GPU: the engine's steps beside two peers, in one run.

ODTK's scheme runs the same checkpoint; torchvision's RetinaNet has a ResNet50 and its own weights.
The input lies on the GPU; resizing and the copy of the results are not part of it. Every figure is
a median over launches of several batches of noise, each kind in turn.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from biased import write_biased_model
from measure import machine, table
from odtk_network import OdtkNetwork
from torch import Tensor
from torchvision_network import TorchvisionNetwork

import cuda_ops
from odtk_ray.engines.cuda_step import Biases, CudaStep
from odtk_ray.engines.gpu_network import fused, load_network, padded
from odtk_ray.engines.kernel_layers import with_kernels
from odtk_ray.model.checkpoint import Checkpoint, load_checkpoint
from odtk_ray.ops.anchors import generate_anchors
from odtk_ray.settings import Postprocessing

SHAPE = (800, 1280)
INPUTS = 4  # batches of noise, taken in turn


class Ours:
    """A captured step, fed by copies into its batch."""

    def __init__(self, checkpoint: Checkpoint, batch: int, *, compile_it: bool) -> None:
        self.device = cuda_ops.Device()
        self.stream = torch.cuda.ExternalStream(self.device.stream)  # type: ignore[no-untyped-call]
        model = load_network(checkpoint, full_precision=False)
        shape = batch, 3 if compile_it else 4, *SHAPE
        self.input = torch.zeros(shape, dtype=torch.float16, device="cuda")
        self.input = self.input.contiguous(memory_format=torch.channels_last)
        anchors = [
            generate_anchors(s, checkpoint.ratios, checkpoint.scales, checkpoint.anchors).numpy()
            for s in model.strides
        ]
        torch.cuda.synchronize()
        started = time.perf_counter()
        network = fused(model)
        biases: Biases | None = None
        if not compile_it:
            network, biases = with_kernels(padded(network), self.device)
        with torch.inference_mode(), torch.cuda.stream(self.stream):
            self.step = CudaStep(
                self.device,
                compiled(network) if compile_it else network,
                self.input,
                model.strides,
                anchors,
                checkpoint.classes,
                Postprocessing(),
                rotated=False,
                biases=biases,
            )
            self.step.capture(torch.cuda.graph_pool_handle(), self.stream)
        torch.cuda.synchronize()
        self.seconds = time.perf_counter() - started

    def __call__(self, batch: Tensor) -> None:
        """Run one launch; the copy of the input is not timed, see `milliseconds`."""
        self.step.run()

    def feed(self, batch: Tensor) -> None:
        """Put a batch where the graph reads it."""
        with torch.cuda.stream(self.stream):
            self.input[:, :3].copy_(batch)


def compiled(network: Any) -> Any:
    """Compile the network with torch.compile, the alternative that is measured beside ours."""
    return torch.compile(network, fullgraph=True, dynamic=False)


def milliseconds(
    run: Callable[[Tensor], object],
    feed: Callable[[Tensor], None],
    inputs: list[Tensor],
    stream: torch.cuda.Stream,
    launches: int,
) -> list[float]:
    """Measure the GPU time of each launch, from the first kernel to the last."""
    times = []
    for launch in range(launches + 3):
        batch = inputs[launch % len(inputs)]
        with torch.cuda.stream(stream):
            feed(batch)
            torch.cuda.synchronize()
            begin, end = (
                torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                for _ in range(2)
            )
            begin.record()
            run(batch)
            end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return times[3:]


def memory() -> float:
    """Return the GiB of GPU memory in use, by any process."""
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**30


def measure(checkpoint: Checkpoint, batch: int, launches: int) -> list[tuple[str, ...]]:
    """Return rows of the table for one batch size."""
    generator = torch.Generator("cuda").manual_seed(batch)
    inputs = [
        torch.randn(batch, 3, *SHAPE, generator=generator, device="cuda").contiguous(
            memory_format=torch.channels_last
        )
        for _ in range(INPUTS)
    ]
    kinds: list[tuple[str, Callable[[], Ours | OdtkNetwork | TorchvisionNetwork]]] = [
        ("torchvision's RetinaNet", lambda: TorchvisionNetwork(inputs[0][:2])),
        ("ODTK's scheme", lambda: OdtkNetwork(checkpoint)),
        ("default", lambda: Ours(checkpoint, batch, compile_it=False)),
        ("compiled", lambda: Ours(checkpoint, batch, compile_it=True)),
    ]
    rows: list[tuple[str, ...]] = []
    for name, make in kinds:
        gc.collect()
        torch.cuda.empty_cache()
        before = memory()
        engine = make()
        stream = engine.stream if isinstance(engine, Ours) else torch.cuda.current_stream()
        feed = engine.feed if isinstance(engine, Ours) else lambda _: None
        times = milliseconds(engine, feed, inputs, stream, launches)
        middle = statistics.median(times)
        rows.append(
            (
                name,
                f"{batch}",
                f"{middle:.2f}",
                f"{min(times):.2f} to {max(times):.2f}",
                f"{batch / middle * 1e3:.0f}",
                f"{memory() - before:.2f}",
                f"{engine.seconds:.1f}" if isinstance(engine, Ours) else "",
            )
        )
        del engine
    return rows


@click.command(help=__doc__.splitlines()[0])
@click.option("--batch", type=click.IntRange(1), multiple=True, default=[8, 32], show_default=True)
@click.option("--backbone", default="ResNet50FPN", show_default=True)
@click.option("--launches", type=click.IntRange(1), default=30, show_default=True)
def main(batch: tuple[int, ...], backbone: str, launches: int) -> None:
    print(f"{machine()}; {torch.cuda.get_device_name()}")
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as folder:
        path = Path(folder) / "model.pth"
        generator = torch.Generator("cuda").manual_seed(0)
        noise = torch.randn(2, 3, *SHAPE, generator=generator, device="cuda")
        candidates = write_biased_model(path, noise, backbone=backbone)
        checkpoint = load_checkpoint(path)
        print(f"{backbone}, 80 classes, {SHAPE}, {candidates:,.0f} candidates an image, FP16")
        rows: list[tuple[str, ...]] = [
            ("", "batch", "ms", "all launches", "img/s", "GiB", "ready in s")
        ]
        for size in batch:
            rows += measure(checkpoint, size, launches)
        print(table(rows))


if __name__ == "__main__":
    main()
