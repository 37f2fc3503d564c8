"""The settings that determine the bytes of a run's outputs: resolved, frozen, with units.

`config` has what a user asked for; these are the resulting values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from odtk_ray.errors import UsageError
from odtk_ray.options import Option, check_options
from odtk_ray.typed_json import Count, typed

ExifPolicy = Literal["ignore", "apply"]
Decoder = Literal["gpu", "cpu"]
Device = Literal["gpu", "cpu"]
AnchorGeneration = Literal["auto", "current", "legacy"]
RotatedNms = Literal["own", "odtk"]
Batch = int | Literal["auto"]

# Key of the decoder of CPUs; those of nvImageCodec name its version and kind.
PILLOW = "pillow"


# ImageNet statistics of the torchvision trunks, RGB, on values in [0, 1].
MEAN = (0.485, 0.456, 0.406)


STD = (0.229, 0.224, 0.225)

# Beyond all that memory has room for, and within what 32-bit arithmetic holds: what is greater was
# mistyped, and would fail in the middle of a run.
MAX_SIDE = 65_536  # pixels
MAX_COUNT = 1_000_000


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a picture to network input.

    Attributes:
        stride: the padded input is a multiple of this many pixels (128 for PyTorch: P7's stride).
    """

    resize: Annotated[
        int,
        Option("Network input", "Length in pixels that the short side of a picture is scaled to.",
               "PIXELS", minimum=1, maximum=MAX_SIDE, in_odtk=True),
    ] = 800  # fmt: skip
    max_size: Annotated[
        int,
        Option("Network input", "Limit in pixels of the long side; it wins over --resize.",
               "PIXELS", minimum=1, maximum=MAX_SIDE, in_odtk=True),
    ] = 1333  # fmt: skip
    stride: int = 128
    exif: Annotated[
        ExifPolicy,
        Option("Images", "Whether pictures are turned as their EXIF orientation says; ODTK and "
               "COCO's annotations ignore it."),
    ] = "ignore"  # fmt: skip
    max_pixels: Annotated[
        int,
        Option("Images", "Pictures with more pixels fail without being decoded.", "PIXELS",
               minimum=1, maximum=10**12),
    ] = 178_000_000  # fmt: skip
    fit: Annotated[
        tuple[int, int] | None,
        Option("Network input", "Height and width in pixels, multiples of 32, of an input that "
               "pictures are scaled to just fit into, as those of exported models are; instead of "
               "--resize and --max-size.", "H [W]", minimum=1, maximum=MAX_SIDE),
    ] = None  # fmt: skip
    tile: Annotated[
        int | None,
        Option("Network input", "Cut pictures into windows of this side in pixels, each of which "
               "is then scaled as a picture would be; --detections limits a window.", "PIXELS",
               minimum=1, maximum=MAX_SIDE),
    ] = None  # fmt: skip
    overlap: Annotated[
        int,
        Option("Network input", "Width in pixels of what neighbouring windows share.", "PIXELS",
               minimum=0, maximum=MAX_SIDE),
    ] = 0  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)
        if self.overlap and self.overlap >= (self.tile or 1):
            raise UsageError(
                f"--overlap {self.overlap} is too large",
                "it must be less than --tile" if self.tile else "it needs --tile",
            )


@dataclass(frozen=True)
class Postprocessing:
    """The steps from head outputs to detections, with ODTK's defaults."""

    threshold: Annotated[
        float,
        Option("Detections", "Scores must be greater than this.", "SCORE", minimum=0, maximum=1),
    ] = 0.05
    top_n: Annotated[
        int,
        Option("Detections", "Candidates kept for each pyramid level of an image.", "N",
               minimum=1, maximum=MAX_COUNT),
    ] = 1000  # fmt: skip
    nms: Annotated[
        float,
        Option("Detections", "IoU above which the worse of two boxes of a class is dropped.",
               "IOU", minimum=0, maximum=1),
    ] = 0.5  # fmt: skip
    detections: Annotated[
        int,
        Option("Detections", "Detections kept for each image.", "N", minimum=1, maximum=MAX_COUNT),
    ] = 100
    rotated_nms: Annotated[
        RotatedNms,
        Option("Detections", "Angles that rotated boxes are compared with: each box's own, or, as "
               "ODTK does by mistake, that of the worse box for both."),
    ] = "own"  # fmt: skip

    def __post_init__(self) -> None:
        check_options(self)


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
        class_limits: for each class what scores must be greater than, besides `threshold`; empty
            where that alone counts.
    """

    model: str
    annotations: str
    images: str
    recursive: bool
    limit: Count | None
    allow_missing: bool
    full_precision: bool
    fallback: bool
    preprocessing: Preprocessing
    postprocessing: Postprocessing
    versions: dict[str, str]
    rotated: bool = False
    launch_batch: Count = 1
    threads: Count = 1
    device: Device = "cpu"
    kernels: bool = False
    decoder: str = PILLOW
    class_limits: tuple[float, ...] = ()

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
            ValueError: a value is missing, unknown, of another type or out of range.
        """
        return typed(values, cls)
