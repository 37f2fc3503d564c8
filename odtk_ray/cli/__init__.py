"""The command line: one file a verb, and the screen. Only this room prints."""

from odtk_ray.cli.program import cli, main

__all__ = ["cli", "main"]
