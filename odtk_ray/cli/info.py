"""`odtk-ray info`: what a model file is."""

from odtk_ray.cli.command import Debug, command
from odtk_ray.cli.guarded import guarded
from odtk_ray.config import Anchors, ModelPath
from odtk_ray.errors import EXIT_OK


@command("odtk-ray info model.pth", "odtk-ray info s3://bucket/engines/")
def info(
    model: ModelPath,
    *,
    anchors: Anchors = "auto",
    debug: Debug = False,
) -> None:
    """Say what a checkpoint, an exported model or an engine set is."""

    def show() -> int:
        from odtk_ray import api
        from odtk_ray.cli.screen import print_rows

        print_rows(api.info(model, anchors=anchors))
        return EXIT_OK

    guarded(show, debug, resumable=False)
