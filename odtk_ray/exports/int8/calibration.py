"""Calibrates INT8: records the magnitudes in the network on some images, on all workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from odtk_ray.artifacts.model_file import model_file
from odtk_ray.errors import ImageError, OdtkError, UsageError
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.int8.histograms import BINS, Histogram
from odtk_ray.exports.int8.quantization import Point, quantization_points
from odtk_ray.exports.traced_network import NetworkGraph, trace_checkpoint
from odtk_ray.images.decode_image import load_picture
from odtk_ray.images.image_file import read_image_file
from odtk_ray.images.normalise import normalised_batch
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.plural import counted
from odtk_ray.settings import AnchorGeneration, Preprocessing


@dataclass(frozen=True)
class Sample:
    """The images of a calibration.

    Attributes:
        paths: in the order in which they were drawn.
        hashes: SHA-256 of each file.
        unreadable: how many were drawn and could not be decoded.
    """

    paths: list[str]
    hashes: list[str]
    unreadable: int


def draw_sample(
    images: str, count: int, size: tuple[int, int], seed: int, lists: ImageLists
) -> Sample:
    """Draw images at random, without images that cannot be decoded.

    Args:
        images: folder, file, glob, list or URI.
        count: how many.
        size: height and width that they are fitted into.
        seed: the same files and seed give the same sample.
        lists: of images.

    Raises:
        UsageError: there are fewer images that can be decoded.
    """
    names = lists.paths(images)
    order = np.random.default_rng(seed).permutation(len(names))
    prep = Preprocessing(fit=size)
    paths: list[str] = []
    hashes: list[str] = []
    unreadable = 0
    for place in order:
        if len(paths) == count:
            break
        try:
            data = read_image_file(names[place], prep)
            load_picture(data, prep)
        except (ImageError, OSError):
            unreadable += 1
            continue
        paths.append(names[place])
        content = data if isinstance(data, bytes) else data.pixels.tobytes()
        hashes.append(hashlib.sha256(content).hexdigest())
    if len(paths) < count:
        raise UsageError(
            f"calibration needs {counted(count, 'image')} and {images} has {len(paths)}",
            f"{unreadable} cannot be decoded" if unreadable else "",
            "--calibration-batches and --calibration-batch-size set the number of images",
        )
    return Sample(paths, hashes, unreadable)


def collect_share(
    model: str,
    anchors: AnchorGeneration,
    sha256: str,
    size: tuple[int, int],
    batches: Sequence[Sequence[str]],
    device: str = "cpu",
) -> dict[str, Histogram]:
    """Load the checkpoint on a worker, and collect its share of a calibration.

    Args:
        model: path or URI of the checkpoint.
        anchors: as it is loaded.
        sha256: of the checkpoint that is expected.
        size: as of `collect`.
        batches: likewise.
        device: likewise.
    """
    with model_file(model) as local:
        checkpoint = load_checkpoint(local, anchors, expect=sha256)
    return collect(trace_checkpoint(checkpoint), size, batches, device)


def collect(
    network: NetworkGraph,
    size: tuple[int, int],
    batches: Sequence[Sequence[str]],
    device: str = "cpu",
) -> dict[str, Histogram]:
    """Run batches of images through a network in FP32.

    Args:
        network: on the CPU, where it is again afterwards.
        size: height and width of the network input in pixels.
        batches: paths; all batches have the same number, since results move in the last bits with
            it.
        device: `cpu` or `cuda`.

    Returns:
        a histogram for each quantised tensor, by key.
    """
    torch.backends.cudnn.allow_tf32 = False
    taps = _Taps(network, quantization_points(network))
    prep = Preprocessing(fit=size)
    network.module.to(device)
    try:
        with torch.inference_mode():
            for paths in batches:
                contents = [read_image_file(path, prep) for path in paths]
                pictures = [load_picture(content, prep).pixels for content in contents]
                batch = normalised_batch(pictures, len(pictures), size)
                taps.run(torch.from_numpy(batch).to(device))
    finally:
        network.module.to("cpu")  # TensorRT may need the memory
    return taps.histograms


class _Taps(fx.Interpreter):
    """Runs a traced network and records histograms of the tensors to quantise."""

    def __init__(self, network: NetworkGraph, points: Sequence[Point]) -> None:
        super().__init__(network.module)
        self._keys = {point.source: point.key for point in points}
        self.histograms = {point.key: Histogram.empty() for point in points}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if key := self._keys.get(n):
            self.histograms[key] += histogram(value, key)
        return value


def histogram(values: Tensor, name: str = "the tensor") -> Histogram:
    """Compute the histogram of a tensor's magnitudes.

    Raises:
        OdtkError: they are not finite.
    """
    magnitudes = values.detach().abs().flatten()
    largest = float(magnitudes.max())
    if largest == 0:
        return Histogram.empty()
    if not np.isfinite(largest):
        raise OdtkError(f"calibration found NaN or infinity in {name}", "the model has diverged")
    exponent = int(np.frexp(largest)[1])  # largest < 2^exponent
    # Scaling by a power of two is exact, and so is the bin of every value.
    places = (magnitudes[magnitudes > 0].double() * (BINS / 2.0**exponent)).long()
    counts = torch.bincount(places, minlength=BINS).cpu().numpy()
    return Histogram(exponent, counts, largest)
