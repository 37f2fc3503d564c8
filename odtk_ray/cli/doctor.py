"""`odtk-ray doctor`: what is wrong with an annotation file."""

from typing import Annotated

from odtk_ray.cli.colours import echo
from odtk_ray.cli.command import Debug, command
from odtk_ray.cli.guarded import guarded
from odtk_ray.errors import EXIT_FAILED, EXIT_OK
from odtk_ray.options import Option
from odtk_ray.plural import counted


@command(
    "odtk-ray doctor --annotations instances.json --images photos/",
    "odtk-ray doctor --annotations ships.json --images photos/ --rotated-bbox",
)
def doctor(
    *,
    annotations: Annotated[str, Option("Images", "COCO file to examine.", "FILE")],
    images: Annotated[str, Option("Images", "Folder or URI of its images.", "DIR")] = ".",
    rotated_bbox: Annotated[bool, Option("Images", "Its boxes are rotated.")] = False,
    samples: Annotated[
        str, Option("Output", "PNG to write, with six of the annotations drawn.", "FILE")
    ] = "doctor.png",
    debug: Debug = False,
) -> None:
    """Say what is wrong with an annotation file, and draw six of its annotations.

    Exit codes: 0 nothing is wrong, 1 something is, 2 the file cannot be read, or the PNG written.
    """

    def check() -> int:
        from odtk_ray.checks.annotations import examine
        from odtk_ray.pictures.annotation_sheet import check_sheet, write_samples

        check_sheet(samples, annotations)
        report = examine(annotations, images, rotated=rotated_bbox)
        if report.samples:
            write_samples(report, images, samples)
        echo(
            f"{annotations}: {counted(len(report.images), 'image')}, "
            f"{counted(len(report.categories), 'category', 'categories')}, "
            f"{counted(report.annotations, 'annotation')}, {report.turned:,} of them turned"
        )
        for finding in report.findings:
            echo(f"{'wrong' if finding.problem.value.wrong else 'note'}: {finding.text}")
            if finding.remedy:
                echo(f"hint: {finding.remedy}", indent=2)
        if report.samples:
            echo(f"wrote {samples}: {counted(len(report.samples), 'annotation')}")
        echo("nothing is wrong" if report.healthy else "correct the file, and check it again")
        return EXIT_OK if report.healthy else EXIT_FAILED

    guarded(check, debug, resumable=False)
