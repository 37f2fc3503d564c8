"""`odtk-ray convert`: rotated annotations from one convention to another."""

from __future__ import annotations

from typing import Any

import click

from odtk_ray.cli.guarded import guarded
from odtk_ray.errors import EXIT_OK

_CONVENTION = click.Choice(["odtk", "opencv", "le90"])


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
