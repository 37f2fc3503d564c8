"""What was measured of a plan of an engine set when it was built, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from odtk_ray.artifacts.plan_key import variant_of
from odtk_ray.artifacts.sidecar import Sidecar
from odtk_ray.typed_json import Count, Range

_Share = Annotated[float, Range(0, 1)]
_Amount = Annotated[float, Range(0, 1e9)]

_HEAD = ("GPU", "TensorRT", "precision", "size", "build s", "img/s", "matched", "AP")


@dataclass(frozen=True)
class PlanFigures:
    """What was measured of a plan on the node that built it.

    Attributes:
        build_seconds: that TensorRT built it, without the check.
        images_per_second: decoded pictures of its size, from their upload to detections; None where
            it could not run.
        batch: pictures of a launch, for that.
        matched: share of the detections that its reference finds too; None without any.
        ap: average precision, IoU 0.50 to 0.95; None where it was not measured.
        reference_ap: that of its reference on the same images.
    """

    build_seconds: _Amount
    images_per_second: _Amount | None = None
    batch: Count | None = None
    matched: _Share | None = None
    ap: _Share | None = None
    reference_ap: _Share | None = None


def plan_table(plans: Mapping[str, Sidecar], figures: Mapping[str, PlanFigures]) -> list[str]:
    """Format a line for each plan, below a heading; `-` stands for what is not known.

    Args:
        plans: sidecars by key.
        figures: what is known of some of them, by key.
    """
    rows = [_HEAD, *(_cells(about, figures.get(key)) for key, about in plans.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
    return lines


def _cells(about: Sidecar, found: PlanFigures | None) -> tuple[str, ...]:
    name, capability = about.gpu or ("", "")
    precision, (height, width) = variant_of(about)
    figures: tuple[float | None, ...] = (None,) * 4
    if found is not None:
        figures = found.build_seconds, found.images_per_second, found.matched, found.ap
    forms = ("{:.0f}", "{:.1f}", "{:.1%}", "{:.4f}")
    return (
        f"{name} ({capability})",
        about.tensorrt,
        precision,
        f"{height}x{width}",
        *("-" if v is None else form.format(v) for v, form in zip(figures, forms, strict=True)),
    )
