"""`odtk-ray convert`: rotated annotations from one convention to another."""

from typing import Annotated, Literal

from odtk_ray.cli.colours import echo
from odtk_ray.cli.command import Debug, command
from odtk_ray.cli.guarded import guarded
from odtk_ray.errors import EXIT_OK
from odtk_ray.options import Option

_Convention = Literal["odtk", "opencv", "le90"]


@command(
    "odtk-ray convert labelTxt/ instances.json --images photos/",
    "odtk-ray convert opencv.json instances.json --from opencv",
)
def convert(
    source: Annotated[
        str, Option("Arguments", "COCO file (.json), or folder of DOTA's text files.", "SOURCE")
    ],
    target: Annotated[
        str,
        Option("Arguments", "File to write (.json), or new or empty folder for DOTA's text files.",
               "TARGET"),
    ],
    *,
    images: Annotated[str, Option("Images", "Folder of the images of DOTA labels.", "DIR")] = ".",
    from_: Annotated[
        _Convention,
        Option("Conventions", "What a bbox of a COCO SOURCE is: x, y, w, h, radians (odtk), or "
               "centre x, centre y, w, h, and degrees (opencv) or radians (le90)."),
    ] = "odtk",
    to: Annotated[
        _Convention, Option("Conventions", "What a bbox of a COCO TARGET shall be, likewise.")
    ] = "odtk",
    debug: Debug = False,
) -> None:  # fmt: skip
    """Convert rotated annotations, or detections, from SOURCE to TARGET.

    Of infer's outputs take the .json, not the .results.json: it has the images and categories.
    """

    def run() -> int:
        from odtk_ray.datasets.convert import convert as converted

        for line in converted(source, target, images=images, reads=from_, writes=to):
            echo(line)
        return EXIT_OK

    guarded(run, debug, resumable=False)
