"""The settings that determine the bytes of a run's outputs: resolved, frozen, with units.

`config` has what a user asked for; these are the resulting values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from odtk_ray.errors import UsageError

ExifPolicy = Literal["ignore", "apply"]
Decoder = Literal["gpu", "cpu"]
Device = Literal["gpu", "cpu"]
CompileMode = Literal["auto", "on", "off"]
AnchorGeneration = Literal["auto", "current", "legacy"]
RotatedNms = Literal["own", "odtk"]

# Key of the decoder of CPUs; those of nvImageCodec name its version and kind.
PILLOW = "pillow"


# ImageNet statistics of the torchvision trunks, RGB, on values in [0, 1].
MEAN = (0.485, 0.456, 0.406)


STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a picture to network input.

    Attributes:
        resize: length in pixels that the short side is scaled to.
        max_size: limit in pixels for the long side; it wins over `resize`.
        stride: the input is padded to a multiple of this many pixels (PyTorch: 128, of P7).
        exif: whether the EXIF orientation is applied; ODTK and COCO's annotations ignore it.
        max_pixels: pictures with more pixels than this fail and are never decoded.
        fit: (height, width) in pixels of a network input of fixed size: pictures are scaled so that
            they just fit into it; the first three values are not used then. Multiples of 32.
        tile: side in pixels of the windows that a picture is cut into, each of which is then
            resized or fitted as a picture would be; None takes it whole.
        overlap: pixels that neighbouring windows share.
    """

    resize: int = 800
    max_size: int = 1333
    stride: int = 128
    exif: ExifPolicy = "ignore"
    max_pixels: int = 178_000_000
    fit: tuple[int, int] | None = None
    tile: int | None = None
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.tile is not None:
            _at_least("--tile", self.tile, 1)
        if self.overlap and self.overlap >= (self.tile or 1):
            raise UsageError(
                f"--overlap {self.overlap} is too large",
                "it must be less than --tile" if self.tile else "it needs --tile",
            )
        _at_least("--resize", self.resize, 1)
        _at_least("--max-size", self.max_size, 1)
        _at_least("--max-pixels", self.max_pixels, 1)


@dataclass(frozen=True)
class Postprocessing:
    """The steps from head outputs to detections; ODTK's defaults.

    Attributes:
        threshold: only scores (strictly) greater than this become candidates.
        top_n: at most this many candidates are kept for each pyramid level and image.
        nms: a box is suppressed by a better one of its class when their IoU is greater than this.
        detections: at most this many detections are kept for each image.
        rotated_nms: angles that rotated boxes are compared with: each box's "own", or, as "odtk"
            does by mistake, that of the worse box for both.
    """

    threshold: float = 0.05
    top_n: int = 1000
    nms: float = 0.5
    detections: int = 100
    rotated_nms: RotatedNms = "own"

    def __post_init__(self) -> None:
        _within("--threshold", self.threshold, 0.0, 1.0)
        _within("--nms", self.nms, 0.0, 1.0)
        _at_least("--top-n", self.top_n, 1)
        _at_least("--detections", self.detections, 1)


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise UsageError(f"{name} {value} is too small", f"it must be at least {low}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise UsageError(
            f"{name} {value:g} is out of range", f"it must be between {low:g} and {high:g}"
        )


@dataclass(frozen=True)
class RunSettings:
    """Everything that determines the bytes of a run's outputs, as plan.json stores it.

    The fields without a default must be equal in a resumed run; the others are determined from the
    workers while the run is planned.

    Attributes:
        model: hash of the model; of an engine set that of all its plans.
        annotations: hash of the annotation file; empty without one.
        images: folder or URI, absolute.
        recursive: whether sub-folders were entered.
        limit: number of images to stop after; None takes all.
        allow_missing: whether annotated images without a file were left out.
        full_precision: neither FP16 nor TF32 on GPUs.
        compile: whether GPUs may run compiled networks.
        fallback: whether GPUs without a plan run the checkpoint of an engine set.
        preprocessing: how pictures become network input.
        postprocessing: thresholds behind the heads.
        versions: of the packages whose arithmetic the results depend on, by name.
        rotated: whether the model's boxes are rotated.
        launch_batch: pictures in one launch of a worker.
        threads: CPU threads of a worker.
        device: the device that workers compute on.
        kernels: whether the kernels of `cuda_ops` run.
        decoder: key of the image decoder.
        compiled: (height, width) of the network inputs that run compiled.
    """

    model: str
    annotations: str
    images: str
    recursive: bool
    limit: int | None
    allow_missing: bool
    full_precision: bool
    compile: CompileMode
    fallback: bool
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    versions: dict[str, str]
    rotated: bool = False
    launch_batch: int = 1
    threads: int = 1
    device: Device = "cpu"
    kernels: bool = False
    decoder: str = PILLOW
    compiled: tuple[tuple[int, int], ...] = ()

    @property
    def decoder_kind(self) -> Decoder:
        """The kind of device that `decoder` runs on."""
        return "cpu" if self.decoder == PILLOW else "gpu"

    def to_json(self) -> dict[str, Any]:
        """Return the values as plan.json has them, by field name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunSettings:
        """Build settings from plan.json's values.

        Raises:
            TypeError, ValueError, KeyError: a value is missing or unknown.
        """
        stored, post = dict(values["preprocessing"]), values["postprocessing"]
        stored["fit"] = stored["fit"] and tuple(stored["fit"])
        if missing := {field.name for field in fields(cls)} - values.keys():
            raise KeyError(f"without {', '.join(sorted(missing))}")
        return cls(
            **values
            | {
                "preprocessing": Preprocessing(**stored),
                "postprocessing": Postprocessing(**post),
                "compiled": tuple((height, width) for height, width in values["compiled"]),
            }
        )
