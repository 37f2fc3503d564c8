"""The error of the heads' 3x3 convolutions in FP8 (E4M3), simulated in FP32 on the CPU.

    PYTHONPATH=jobs/demo python jobs/bench/fp8_error.py

The two demonstration models run on photographs and on drawn scenes, and ResNet50FPN with random
weights, whose detections mean nothing, for heads of 256 channels. Scales of activations are taken
from one half of the pictures, and the other half is compared, then the halves change places.
"""

from __future__ import annotations

import itertools
import lzma
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
from biased import write_biased_model
from measure import machine, table
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from training.scenes import Style, draw_scene
from training.tiles import turn

from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.evaluation.partners import find_partners
from odtk_ray.exports.check.compare_detections import as_table
from odtk_ray.images.resize import padded_size
from odtk_ray.model.checkpoint import Checkpoint, load_checkpoint
from odtk_ray.records import Detections
from odtk_ray.settings import Postprocessing

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = ("OSBS_029.jpg", "SOAP_061.jpg")
LARGEST = 448.0  # of E4M3
COUNTED, SAME_IOU, SAME_SCORE = 0.3, 0.9, 0.05
SEED = 3_000_000  # of scenes; apart from the seeds of trainings and of the rotated set

Pixels = NDArray[np.uint8]


class Fp8Conv(nn.Module):
    """Computes a convolution whose input and weights are rounded to E4M3.

    The input has one scale, from the largest value seen before `ready`; weights have one for each
    output channel.

    Args:
        conv: the convolution in FP32, which computes until `ready`.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv, self.ready, self.largest = conv, False, 0.0
        scale = conv.weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12) / LARGEST
        self.rounded = rounded(conv.weight, scale)

    def forward(self, x: Tensor) -> Tensor:
        """Compute float32 [B, C, H, W] to [B, C', H, W]."""
        if not self.ready:
            self.largest = max(self.largest, float(x.abs().max()))
            return self.conv(x)  # type: ignore[no-any-return]
        x = rounded(x, torch.tensor(self.largest / LARGEST))
        return torch.conv2d(x, self.rounded, self.conv.bias, padding=1)


def rounded(x: Tensor, scale: Tensor) -> Tensor:
    """Round to the nearest multiple of a scale that E4M3 has; what is beyond its range saturates.

    Args:
        x: float32 [N, C, H, W].
        scale: float32 [] or [N, 1, 1, 1].
    """
    codes = (x / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
    return codes.float() * scale


class Run(PyTorchEngine):
    """Runs a model in one precision and keeps what its last call gave, raw outputs and detections.

    Args:
        checkpoint: the model.
        half: whether the whole network computes in FP16.
        layers: how many layers of the class head and of the box head are rounded to E4M3.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, half: bool = False, layers: tuple[int, int] = (0, 0)
    ) -> None:
        threads = torch.get_num_threads()
        super().__init__(checkpoint, Postprocessing(), launch_batch=1, threads=threads)
        self._half = half
        self._convs: list[Fp8Conv] = []
        for head, count in zip((self._model.cls_head, self._model.box_head), layers, strict=True):
            for place in range(0, 2 * count, 2):  # a ReLU stands behind each
                conv = head[place]
                assert isinstance(conv, nn.Conv2d)  # noqa: S101 (for the type)
                self._convs.append(Fp8Conv(conv))
                head[place] = self._convs[-1]
        if half:
            self._model.half()

    def calibrate(self, pictures: Sequence[Pixels]) -> None:
        """Take the scales of activations from pictures; earlier ones are forgotten."""
        if not self._convs:
            return
        for conv in self._convs:
            conv.ready, conv.largest = False, 0.0
        for picture in pictures:
            self.see(picture)
        for conv in self._convs:
            conv.ready = True

    def see(self, picture: Pixels) -> Detections:
        """Detect in a square picture."""
        width, height = padded_size(picture.shape[1], picture.shape[0], 128)
        self.found = self.detect([picture], (height, width))[0]
        return self.found

    def _heads(
        self, pictures: Sequence[Pixels], shape: tuple[int, int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        batch = self._normalise(pictures, shape)
        logits, deltas = self._model(batch.half() if self._half else batch)
        logits, deltas = ([level.float() for level in levels] for levels in (logits, deltas))
        self.outputs = [torch.cat([v.flatten() for v in levels]) for levels in (logits, deltas)]
        return [level.sigmoid() for level in logits], deltas


@dataclass
class Error:
    """Sums of errors over pictures.

    Attributes:
        squares: of the errors of class logits and of box deltas, and of their own deviations from
            the mean, as [[logits, deltas], [logits, deltas]].
        score: greatest difference of a score.
        paired: counted detections of FP32 with a partner.
        counted: detections of FP32 with a score of at least COUNTED.
    """

    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))
    score: float = 0.0
    paired: int = 0
    counted: int = 0

    def add(self, one: Run, other: Run, picture: Pixels) -> None:
        """Add what two runs give for a picture; `one` has seen it already."""
        expected, found = one.outputs, other.see(picture)
        for kind, (a, b) in enumerate(zip(expected, other.outputs, strict=True)):
            self.squares[0, kind] += float((a - b).double().square().mean())
            self.squares[1, kind] += float(a.double().var())
        scores = (expected[0].sigmoid() - other.outputs[0].sigmoid()).abs()
        self.score = max(self.score, float(scores.max()))
        reference = one.found
        self.counted += int((reference.scores >= COUNTED).sum())
        self.paired += partners(reference, found)

    def row(self, *names: str) -> list[str]:
        """Format a line of the table."""
        logits, deltas = np.sqrt(self.squares[0] / self.squares[1])
        pairs = f"{self.paired:,} of {self.counted:,}"
        return [*names, f"{logits:.2%}", f"{deltas:.2%}", f"{self.score:.3f}", pairs]


def partners(one: Detections, other: Detections) -> int:
    """Count the detections of a run that have a partner in another, one to one.

    Partners have the same class, an IoU of at least SAME_IOU and scores within SAME_SCORE.
    """
    partner, _ = find_partners(as_table(one), as_table(other), SAME_IOU)
    paired = np.flatnonzero((one.scores >= COUNTED) & (partner >= 0))
    apart = np.abs(one.scores[paired] - other.scores[partner[paired]])
    return int((apart <= SAME_SCORE).sum())


def photographs(side: int, turns: int) -> list[Pixels]:
    """Read the photographs, enlarged, each in some of its 8 flips and rotations."""
    pictures = []
    for name, turned in itertools.product(PHOTOGRAPHS, range(turns)):
        with Image.open(ROOT / "odtk_ray" / "assets" / name) as image:
            large = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        pixels, _ = turn(np.asarray(large), np.zeros((0, 4), np.float32), turned)
        pictures.append(np.ascontiguousarray(pixels))
    return pictures


def scenes(count: int) -> list[Pixels]:
    """Draw scenes with rotated shapes on the photographs."""
    grounds = []
    for name in PHOTOGRAPHS:
        with Image.open(ROOT / "odtk_ray" / "assets" / name) as image:
            grounds.append(image.convert("RGB"))
    return [draw_scene(grounds, Style(), SEED, index).pixels for index in range(count)]


def models(folder: Path, quick: bool) -> Iterator[tuple[str, Checkpoint, list[Pixels]]]:
    """Yield names, models and the pictures that they run on."""
    trees = load_checkpoint(ROOT / "odtk_ray" / "assets" / "trees.pth")
    yield "trees, 64 channels", trees, photographs(800, 2 if quick else 8)
    path = folder / "shapes.pth"
    packed = (ROOT / "jobs" / "demo" / "shapes.pth.xz").read_bytes()
    path.write_bytes(lzma.decompress(packed))
    yield "shapes, 64 channels", load_checkpoint(path), scenes(4 if quick else 16)
    path = folder / "random.pth"
    noise = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    write_biased_model(path, noise)
    yield "random, 256 channels", load_checkpoint(path), photographs(512, 1 if quick else 2)


def compare(name: str, checkpoint: Checkpoint, pictures: list[Pixels]) -> list[list[str]]:
    """Return rows of the table for a model."""
    reference = Run(checkpoint)
    runs = {
        "FP16, the whole network": Run(checkpoint, half=True),
        "E4M3, the heads but for the last layers": Run(checkpoint, layers=(4, 4)),
        "E4M3, the class head's last layer too": Run(checkpoint, layers=(5, 4)),
    }
    errors = {kind: Error() for kind in runs}
    half = len(pictures) // 2
    halves = pictures[:half], pictures[half:]
    for calibration, compared in (halves, halves[::-1]):
        for run in runs.values():
            run.calibrate(calibration)
        for picture in compared:
            reference.see(picture)
            for kind, run in runs.items():
                errors[kind].add(reference, run, picture)
    return [error.row(name, kind) for kind, error in errors.items()]


@click.command(help=__doc__.splitlines()[0])
@click.option("--quick", is_flag=True, help="A quarter of the pictures.")
def main(quick: bool) -> None:
    print(machine())
    heading = ["model", "precision", "class logits", "box deltas", "largest score error",
               "detections with a partner"]  # fmt: skip
    rows = [heading]
    with tempfile.TemporaryDirectory(prefix="odtk-ray-bench-") as folder:
        for name, checkpoint, pictures in models(Path(folder), quick):
            rows += compare(name, checkpoint, pictures)
    print("errors are root mean squares over the standard deviation of the same outputs in FP32\n")
    print(table(rows))


if __name__ == "__main__":
    main()
