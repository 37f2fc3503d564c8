"""`odtk-ray convert`: annotations and detections for other programs and conventions."""

from typing import Annotated, Literal

from odtk_ray.cli.colours import echo
from odtk_ray.cli.command import Debug, command
from odtk_ray.cli.guarded import guarded
from odtk_ray.errors import EXIT_OK
from odtk_ray.options import Option

_Convention = Literal["odtk", "opencv", "le90"]


@command(
    "odtk-ray convert labelTxt/ instances.json --images photos/",
    "odtk-ray convert detections.json detections.geojson --images photos/",
)
def convert(
    source: Annotated[
        str, Option("Arguments", "COCO file (.json), or folder of DOTA's text files.", "SOURCE")
    ],
    target: Annotated[
        str,
        Option("Arguments", "File to write, COCO (.json), CVAT (.xml) or GeoJSON (.geojson), or a "
               "new or empty folder for DOTA's text files.", "TARGET"),
    ],
    *,
    images: Annotated[
        str,
        Option("Images", "Folder of the images of DOTA's labels and of GeoTIFFs; for Label Studio "
               "what its tasks have before the names of images.", "DIR"),
    ] = ".",
    format: Annotated[
        Literal["coco", "dota", "labelstudio", "cvat", "geojson"] | None,
        Option("Conventions", "Format of TARGET.", unset="by its name"),
    ] = None,
    from_: Annotated[
        _Convention,
        Option("Conventions", "What a bbox of a COCO SOURCE is: x, y, w, h, radians (odtk), or "
               "centre x, centre y, w, h, and degrees (opencv) or radians (le90)."),
    ] = "odtk",
    to: Annotated[
        Literal["odtk", "opencv", "le90", "coco"],
        Option("Conventions", "What a bbox of a COCO TARGET shall be, likewise; coco: x, y, w, h "
               "around it."),
    ] = "odtk",
    crs: Annotated[
        Literal["wgs84", "source"],
        Option("Conventions", "Coordinates of GeoJSON: longitude and latitude, or those of the "
               "GeoTIFFs."),
    ] = "wgs84",
    debug: Debug = False,
) -> None:  # fmt: skip
    """Convert detections, or rotated annotations, from SOURCE to TARGET.

    Of infer's outputs take the .json, not the .results.json: it has the images and categories.
    """

    def run() -> int:
        from odtk_ray.datasets.convert import Conversion
        from odtk_ray.datasets.convert import convert as converted

        for line in converted(Conversion(source, target, images, format, from_, to, crs)):
            echo(line)
        return EXIT_OK

    guarded(run, debug, resumable=False)
