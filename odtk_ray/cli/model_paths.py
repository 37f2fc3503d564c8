"""Types of the arguments that name models: completed as files, other tools' files are explained."""

from __future__ import annotations

import os
from typing import Any

import click

from odtk_ray.cli.other_tools import FOREIGN_ENDINGS, PLAN_ENDINGS
from odtk_ray.errors import UsageError

_KINDS = "odtk-ray runs ODTK's checkpoints (.pth) and what it exports of them (.onnx, .plan)"


class _ModelPath(click.Path):
    """A model that is read."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse models of other tools by the endings of their names."""
        stem, ending = os.path.splitext(value)
        if ending.lower() in PLAN_ENDINGS and not os.path.isdir(value):
            raise UsageError(
                f"cannot use {value}",
                "a TensorRT plan made elsewhere does not say what model it is",
                f"make a plan for odtk-ray: odtk-ray export {stem}.onnx {stem}.plan, or of the "
                ".pth",
            )
        if ending.lower() in FOREIGN_ENDINGS:
            raise UsageError(f"cannot use {value}", _KINDS)
        return super().convert(value, param, ctx)


class _ExportPath(click.Path):
    """A model that is written."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse other tools' endings for TensorRT plans."""
        stem, ending = os.path.splitext(value)
        if ending.lower() in PLAN_ENDINGS:
            raise UsageError(
                f"cannot export to {value}",
                "TensorRT plans end in .plan here",
                f"write {stem}.plan",
            )
        return super().convert(value, param, ctx)


# What is behind a path is found out where it is read; it may be a URI.
MODEL = _ModelPath(readable=False)
EXPORT = _ExportPath(readable=False)
