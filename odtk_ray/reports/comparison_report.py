"""The report of two detectors, whose boxes are on one picture."""

from __future__ import annotations

import numpy as np

from odtk_ray.evaluation.comparison import Pair
from odtk_ray.evaluation.comparison_tables import verdict
from odtk_ray.reports import plots
from odtk_ray.reports.chosen_images import MOST_IMAGES
from odtk_ray.reports.content import Content
from odtk_ray.reports.galleries import Galleries, fill_report
from odtk_ray.reports.page import render
from odtk_ray.reports.page_data import page_data
from odtk_ray.reports.tables import difference_table, error_rows


def comparison_report(content: Content, pair: Pair, level: float) -> bytes:
    """Make the report, in UTF-8, of at most 200 pictures and 20 MB.

    Args:
        content: with two detectors, A and B.
        pair: the comparison of the two.
        level: share of the draws whose difference lies in an interval.
    """
    images = pair.images[:MOST_IMAGES]
    better = np.sign(pair.by_image[images])  # errors of B less those of A
    groups = [
        ("B has more errors", images[better > 0]),
        ("A has more errors", images[better < 0]),
    ]

    def page(galleries: Galleries) -> bytes:
        """Render with some pictures."""
        analyses = [detector.analysis for detector in content.detectors]
        categories = [category.name for category in analyses[0].categories]
        return render(
            "comparison.html",
            content=content,
            categories=analyses[0].categories,
            images=analyses[0].metrics.images,
            boxes=int(analyses[0].curves.positives.sum()),
            scores=analyses[0].curves.scores,
            lines=[plots.Lines.of(analysis.curves) for analysis in analyses],
            plot=plots,
            verdict=verdict(pair, level),
            level=f"{level:.0%}",
            figures=difference_table("Figure", [row.name for row in pair.figures], pair.figures),
            classes=difference_table("Class", categories, pair.classes),
            errors=list(zip(*(error_rows(analysis) for analysis in analyses), strict=True)),
            galleries=galleries,
            data=page_data(content.detectors),
        )

    return fill_report(content, groups, page)
