"""Names the plans of an engine set by what they are bound to."""

from __future__ import annotations

import re
from typing import NamedTuple

from odtk_ray.artifacts.exported_model import Precision
from odtk_ray.artifacts.sidecar import Sidecar


class Variant(NamedTuple):
    """A precision and an input size, height and width in pixels, of a set's plans."""

    precision: Precision
    size: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]} {self.precision.upper()}"


def slug(text: str) -> str:
    """Replace what file names and Ray's labels cannot contain: `NVIDIA-H100-80GB-HBM3`."""
    return re.sub(r"[^\w.]+", "-", text, flags=re.ASCII).strip("-")


def engine_key(
    gpu: tuple[str, str], tensorrt: str, precision: Precision, size: tuple[int, int]
) -> str:
    """Name a plan of a set by everything that it is bound to.

    Args:
        gpu: name and compute capability.
        tensorrt: package and version.
        precision: of the plan.
        size: height and width of its input in pixels.

    Returns:
        such as `NVIDIA-H100-80GB-HBM3_sm90_tensorrt-11.4.0_fp16_800x1280`.
    """
    return f"{_machine_key(gpu, tensorrt)}_{precision}_{size[0]}x{size[1]}"


def _machine_key(gpu: tuple[str, str], tensorrt: str) -> str:
    name, capability = gpu
    capability = capability.replace(".", "")
    return f"{slug(name)}_sm{capability}_{slug(tensorrt)}"


def variant_of(about: Sidecar) -> Variant:
    """Return the precision and the size of a plan."""
    return Variant(about.model.precision, about.model.size)


def key_of(about: Sidecar) -> str:
    """Return the key of a plan that was built on a GPU."""
    return engine_key(_gpu(about), about.tensorrt, about.model.precision, about.model.size)


def machine_key(about: Sidecar) -> str:
    """Return the part of a plan's key that names its GPU and TensorRT."""
    return _machine_key(_gpu(about), about.tensorrt)


def _gpu(about: Sidecar) -> tuple[str, str]:
    if about.gpu is None:
        raise ValueError("a plan of a set is bound to a GPU")
    return about.gpu
