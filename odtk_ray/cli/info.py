"""`odtk-ray info`: what a model file is."""

from __future__ import annotations

from typing import Any

import click

from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.model_paths import MODEL
from odtk_ray.errors import EXIT_OK


@click.command()
@click.argument("file", type=MODEL)
@click.option("--anchors", type=click.Choice(["auto", "current", "legacy"]), default="auto",
              show_default=True, help="As in infer.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def info(file: str, anchors: Any, debug: bool) -> None:
    """Say what a checkpoint, exported model or engine set FILE is."""

    def show() -> int:
        from odtk_ray import api

        rows = api.info(file, anchors=anchors)
        width = max(len(name) for name, _ in rows)
        for name, text in rows:
            click.echo(f"{name:<{width}}  {text}")
        return EXIT_OK

    guarded(show, debug, resumable=False)
