"""What `odtk-ray compare` is asked to do."""

from dataclasses import dataclass
from typing import Annotated

from odtk_ray.config.common import Report, setting
from odtk_ray.config.evaluate_config import PicturesFolder, RotatedBoxes
from odtk_ray.errors import UsageError
from odtk_ray.options import Option, check_options
from odtk_ray.settings import ExifPolicy, Preprocessing


# fmt: off
@dataclass(frozen=True)
class CompareConfig:
    """What `odtk-ray compare` is asked to do; its fields are the options."""

    detections: Annotated[
        tuple[str, ...],
        Option("Arguments", "Two or more files of detections: .json (as ODTK, or a list of COCO "
               "results), .jsonl, .csv, .parquet.", "A B..."),
    ]
    annotations: Annotated[
        str | None,
        Option("Images", "COCO file with the ground truth of the detections' images.", "FILE",
               "only compare the detections with each other"),
    ] = None
    rotated_bbox: RotatedBoxes = False
    iou: Annotated[
        float,
        Option("Matches", "Least IoU of detections of two files that are partners.", "IOU",
               minimum=0.1, maximum=1),
    ] = 0.9
    score: Annotated[
        float,
        Option("Matches", "Detections from this score on are counted; their partners may have "
               "less.", "SCORE", minimum=0, maximum=1),
    ] = 0.3
    group_by: Annotated[
        str | None,
        Option("Bootstrap", "Entry of the annotation file's images; those with equal values are "
               "drawn together.", "KEY", "every image by itself"),
    ] = None
    draws: Annotated[
        int,
        Option("Bootstrap", "Number of draws of images.", "N", minimum=1, maximum=1_000_000),
    ] = 1_000
    level: Annotated[
        float,
        Option("Bootstrap", "Share of the draws whose difference lies in the interval.", "SHARE",
               minimum=0, maximum=1),
    ] = 0.95
    seed: Annotated[
        int, Option("Bootstrap", "Seed of the draws.", "N", minimum=0, maximum=2**32 - 1)
    ] = 0
    output: Annotated[
        str | None, Option("Output", "JSON file to write the comparison to.", "FILE")
    ] = None
    report: Report = None
    images: PicturesFolder = None
    exif: Annotated[ExifPolicy, setting(Preprocessing, "exif")] = Preprocessing.exif
    # fmt: on

    def __post_init__(self) -> None:
        check_options(self)
        if len(self.detections) < 2:
            raise UsageError(
                "there is nothing to compare with", "only one file of detections was given"
            )
        if self.group_by is not None and self.annotations is None:
            raise UsageError("--group-by needs --annotations, whose images it is about")
        if self.report is not None and (self.annotations is None or len(self.detections) > 2):
            raise UsageError(
                "--report needs two files of detections and --annotations",
                "it shows the boxes that one finds and the other misses",
            )
        if self.images is not None and self.report is None:
            raise UsageError("--images needs --report, which shows the pictures")
