"""The commands around annotation files: doctor and convert."""

from __future__ import annotations

from typing import Any

import click

from odtk_ray.commands import guarded
from odtk_ray.errors import EXIT_FAILED, EXIT_OK

_CONVENTION = click.Choice(["odtk", "opencv", "le90"])


@click.command()
@click.option("--annotations", required=True, help="COCO file to examine.")
@click.option("--images", default=".", show_default=True, help="Folder or URI of its images.")
@click.option("--rotated-bbox", is_flag=True, help="Its boxes are rotated.")
@click.option("--samples", default="doctor.png", show_default=True,
              help="PNG to write, six annotations in it.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def doctor(annotations: str, images: str, rotated_bbox: bool, samples: str, debug: bool) -> None:
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
        click.echo(
            f"{annotations}: {len(report.images):,} images, {len(report.categories):,} categories, "
            f"{report.annotations:,} annotations, {report.turned:,} of them turned"
        )
        for finding in report.findings:
            click.echo(f"{'wrong' if finding.problem.value.wrong else 'note'}: {finding}")
        if report.samples:
            click.echo(f"wrote {samples}: {len(report.samples)} annotations")
        click.echo("nothing is wrong" if report.healthy else "the file should be mended")
        return EXIT_OK if report.healthy else EXIT_FAILED

    guarded(check, debug, resumable=False)


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--images", default=".", show_default=True, help="Images of DOTA labels.")
@click.option("--from", "reads", type=_CONVENTION, default="odtk", show_default=True,
              help="What the bbox of a COCO SOURCE is: x, y, w, h, radians (odtk), or centre x, "
                   "centre y, w, h, and degrees (opencv) or radians (le90).")  # fmt: skip
@click.option("--to", "writes", type=_CONVENTION, default="odtk", show_default=True,
              help="What the bbox of a COCO TARGET shall be.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def convert(source: str, target: str, debug: bool, **options: Any) -> None:
    """Convert rotated annotations, or detections, from SOURCE to TARGET.

    Each is a COCO file (.json) or a folder of DOTA's text files. Of infer's outputs take the .json,
    not the .results.json: it has the images and categories.
    """

    def run() -> int:
        from odtk_ray.datasets.convert import convert as converted

        click.echo(converted(source, target, **options))
        return EXIT_OK

    guarded(run, debug, resumable=False)
