"""What `odtk-ray evaluate` is asked to do."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from odtk_ray.config.common import Report, setting
from odtk_ray.errors import UsageError
from odtk_ray.options import Option, check_options
from odtk_ray.settings import ExifPolicy, Preprocessing

Annotations: TypeAlias = Annotated[
    str,
    Option("Images", "COCO file with the ground truth of the detections' images.", "FILE"),
]
RotatedBoxes: TypeAlias = Annotated[bool, Option("Images", "The boxes are rotated.")]

PicturesFolder: TypeAlias = Annotated[
    str | None,
    Option("Images", "Folder or URI of the annotation file's images, for the pictures of --report.",
           "DIR", "no pictures"),
]  # fmt: skip


# fmt: off
@dataclass(frozen=True)
class EvaluateConfig:
    """What `odtk-ray evaluate` is asked to do; its fields are the options."""

    detections: Annotated[
        str,
        Option("Arguments", "File of detections: .json (as ODTK, or a list of COCO results), "
               ".jsonl, .csv, .parquet.", "DETECTIONS"),
    ]
    annotations: Annotations
    rotated_bbox: RotatedBoxes = False
    precision: Annotated[
        float | None,
        Option("Thresholds", "Choose for each class the threshold that reaches this precision with "
               "the most recall.", "P", "the best F1", minimum=0, maximum=1),
    ] = None
    recall: Annotated[
        float | None,
        Option("Thresholds", "Choose for each class the threshold that reaches this recall with "
               "the best precision.", "R", "the best F1", minimum=0, maximum=1),
    ] = None
    output: Annotated[
        str | None, Option("Output", "JSON file to write the figures to.", "FILE")
    ] = None
    thresholds: Annotated[
        str | None,
        Option("Output", "JSON file to write the threshold of each class to, for infer.", "FILE"),
    ] = None
    report: Report = None
    images: PicturesFolder = None
    exif: Annotated[ExifPolicy, setting(Preprocessing, "exif")] = Preprocessing.exif
    # fmt: on

    def __post_init__(self) -> None:
        check_options(self)
        if self.precision is not None and self.recall is not None:
            raise UsageError(
                "--precision and --recall cannot both be given",
                "each of them chooses the thresholds",
            )
        if self.images is not None and self.report is None:
            raise UsageError("--images needs --report, which shows the pictures")
