r"""Judges rotated detections: AP by exact polygons, AP without the angles, and the angle error.

    PYTHONPATH=jobs python jobs/demo/rotated_report.py found.results.json \
        --annotations rotated_set/scenes.json

The file holds COCO results (odtk-ray infer --output x.results.json), with theta in `bbox`.
"""

from __future__ import annotations

import click
from training.angles import AngleReport, report_angles

from odtk_ray.datasets.annotation_file import read_annotation_file
from odtk_ray.datasets.detection_builder import Universe
from odtk_ray.datasets.detection_files import read_detections
from odtk_ray.errors import OdtkError


def read_report(path: str, annotations: str) -> tuple[AngleReport, list[str]]:
    """Read the report on a results file, and remarks about the annotations.

    Raises:
        OdtkError: a file cannot be used.
    """
    wanted = read_annotation_file(annotations, rotated=True)
    table, remarks = read_detections(path, Universe.of(wanted), rotated=True)
    report = report_angles(wanted.truth, wanted.categories, table, len(wanted.images))
    return report, [*(finding.text for finding in wanted.findings), *remarks]


@click.command(help=__doc__.splitlines()[0])
@click.argument("results", type=click.Path(exists=True, dir_okay=False))
@click.option("--annotations", type=click.Path(exists=True, dir_okay=False), required=True)
def main(results: str, annotations: str) -> None:
    try:
        report, remarks = read_report(results, annotations)
    except OdtkError as error:
        raise click.ClickException(str(error)) from error
    for remark in remarks:
        click.echo(f"note: {remark}", err=True)
    click.echo(f"{'':12}{'AP':>8}{'AP50':>8}{'AP75':>8}")
    for name, metrics in (("as found", report.metrics), ("theta = 0", report.unturned)):
        stats = [metrics.stats[figure] for figure in ("AP", "AP50", "AP75")]
        click.echo(f"{name:12}" + "".join(f"{value:8.4f}" for value in stats))
    for row in report.metrics.classes:
        click.echo(f"{row.category.name:12}{row.ap:8.4f}{row.ap50:8.4f}")
    if report.error is not None:
        pairs = f"{report.matches:,} matches"
        click.echo(f"median angle error {report.error:.2f} degrees over {pairs}")


if __name__ == "__main__":
    main()
