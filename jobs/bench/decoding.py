"""Does the GPU decode JPEGs while the network works?

Batches of 640x480 are decoded on an idle GPU, and while launches of the network are queued without
end on another stream; by each kind of decoder, and by several decoders in threads at once. A batch
must be decoded in less time than a launch takes, or the GPU waits for it.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
from endtoend import write_picture
from measure import machine, table

from odtk_ray.images.nvimagecodec import JPEG_KINDS, JpegKind
from odtk_ray.settings import Postprocessing, Preprocessing

SHAPE = (896, 1152)
MODEL = Path(__file__).parents[2] / "odtk_ray/assets/trees.pth"


def decode_times(
    files: list[bytes], kind: JpegKind, decoders: int, rounds: int
) -> tuple[float, list[float]]:
    """Measure the seconds of `decoders` * `rounds` batches, and of each batch."""
    import cuda_ops
    from odtk_ray.images.nvimagecodec import JpegDecoder

    # The decoders are made one after the other, and begin together.
    making, ready = threading.Lock(), threading.Barrier(decoders + 1)

    def work() -> list[float]:
        with making:
            device = cuda_ops.Device()
            decoder = JpegDecoder(device, threads=4, kinds=[kind])
        seconds = []
        for number in range(-2, rounds):  # two to warm up
            if number == 0:
                ready.wait()
            started = time.perf_counter()
            images = decoder.decode(files)
            device.synchronize()
            seconds.append(time.perf_counter() - started)
            if any(image is None for image in images):
                raise RuntimeError("a picture was not decoded")
            images.clear()
        decoder.close()
        device.close()
        return seconds[2:]

    with ThreadPoolExecutor(decoders) as pool:
        running = [pool.submit(work) for _ in range(decoders)]
        ready.wait()
        started = time.perf_counter()
        seconds = list(itertools.chain(*(future.result() for future in running)))
        return time.perf_counter() - started, seconds


class Load:
    """Launches of the network, one behind the other, until the block is left.

    Attributes:
        milliseconds: between the ends of launches.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._stop = threading.Event()
        self.milliseconds: list[float] = []

    def __enter__(self) -> Load:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[started])
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        import torch

        from odtk_ray.engines.cuda import CudaEngine
        from odtk_ray.model.checkpoint import load_checkpoint

        options: dict[str, Any] = {"launch_batch": self._batch, "threads": 1, "jpeg": ()}
        checkpoint = load_checkpoint(MODEL)
        engine = CudaEngine(
            checkpoint, Preprocessing(), Postprocessing(), shapes=[SHAPE], **options
        )
        step, stream = engine._step(SHAPE), engine._stream
        ends: list[Any] = []
        while not self._stop.is_set():
            with torch.inference_mode(), torch.cuda.stream(stream):
                step.run()
                end: Any = torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
                end.record()
                ends.append(end)
            if len(ends) > 2:  # three in flight
                ends[-3].synchronize()
                started.set()
        stream.synchronize()
        self.milliseconds = [a.elapsed_time(b) for a, b in itertools.pairwise(ends)]
        engine.close()


@click.command(help=__doc__.splitlines()[0])
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=40, show_default=True)
def main(batch: int, rounds: int) -> None:
    print(machine())
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as folder:
        paths = [str(Path(folder) / f"{seed}.jpg") for seed in range(batch)]
        for seed, path in enumerate(paths):
            write_picture(path, seed, 640, 480)
        files = [Path(path).read_bytes() for path in paths]
    rows: list[tuple[str, ...]] = [("decoder", "at once", "GPU", "batch ms", "img/s", "launch ms")]
    for kind, decoders, busy in itertools.product(JPEG_KINDS, (1, 2, 4), (False, True)):
        launch = ""
        if busy:
            with Load(batch) as load:
                seconds, each = decode_times(files, kind, decoders, rounds)
            launch = f"{statistics.median(load.milliseconds):.2f}"
        else:
            seconds, each = decode_times(files, kind, decoders, rounds)
        rate = batch * len(each) / seconds
        state = "busy" if busy else "idle"
        middle = f"{1e3 * statistics.median(each):.2f}"
        rows.append((kind, str(decoders), state, middle, f"{rate:,.0f}", launch))
        print(*rows[-1], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
