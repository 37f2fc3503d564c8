"""Compares two detection files on one annotation file: AP, its difference, and equal detections.

    python jobs/compare_ap.py fp32.results.json int8.results.json --annotations tiles.json

The files are COCO results (odtk-ray infer --output x.results.json). Images without rows in a file
count as images without detections. The difference comes with a bootstrap interval. Detections of
either file with a score of 0.3 or more are matched one to one: same class, IoU 0.9.
"""

from __future__ import annotations

import json
from typing import Any

import click
import numpy as np

from odtk_ray.datasets.coco import read_truth
from odtk_ray.datasets.detection_table import DetectionTable
from odtk_ray.datasets.ground_truth import image_ranks
from odtk_ray.datasets.ids import id_text
from odtk_ray.errors import OdtkError, UsageError
from odtk_ray.evaluation.bootstrap import compare
from odtk_ray.exports.check.compare_detections import match
from odtk_ray.records import Detections


def groups_of(images: list[dict[str, Any]], key: str | None) -> list[int]:
    """Assign each image the number of its group, by the value of a key; without one, its own.

    Raises:
        UsageError: an image has no such key.
    """
    if key is None:
        return list(range(len(images)))
    missing = [image["id"] for image in images if key not in image]
    if missing:
        raise UsageError(f"cannot group by {key!r}", f"image {missing[0]} has no such entry")
    numbers: dict[str, int] = {}
    return [numbers.setdefault(json.dumps(image[key]), len(numbers)) for image in images]


def read_tables(path: str) -> dict[str, list[dict[str, Any]]]:
    """Read the `images` and `categories` of a COCO file, objects that have an `id`.

    Raises:
        UsageError: it is none.
    """
    hint = "odtk-ray doctor says what is wrong with an annotation file"
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        tables = {name: list(content[name]) for name in ("images", "categories")}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"cannot use {path}", "it is no COCO annotation file", hint) from error
    entries = [entry for rows in tables.values() for entry in rows]
    if not all(
        isinstance(entry, dict) and isinstance(entry.get("id"), int | str) for entry in entries
    ):
        raise UsageError(f"cannot use {path}", "an image or a category has no id", hint)
    return tables


def read_table(
    path: str, images: dict[str, int], categories: dict[str, int], numbers: int = 4
) -> DetectionTable:
    """Read the rows of a COCO results file.

    Args:
        path: the file.
        images: row of each image, by the JSON text of its id.
        categories: likewise.
        numbers: of a `bbox`: 4, or 5 with theta.

    Raises:
        UsageError: it is no list of such detections, or of other images or categories.
    """
    try:
        with open(path, encoding="utf-8") as file:
            rows = json.load(file)
        image = [images[id_text(row["image_id"])] for row in rows]
        category = [categories[id_text(row["category_id"])] for row in rows]
        score = [row["score"] for row in rows]
        bbox = [row["bbox"] for row in rows]
        sizes = {len(box) for box in bbox} - {numbers}
    except KeyError as error:
        why = f"{error} is missing in a row, or not in the annotation file"
        raise UsageError(f"cannot use {path}", why) from error
    except (OSError, ValueError, TypeError) as error:
        hint = "write it with: odtk-ray infer --output name.results.json"
        raise UsageError(f"cannot use {path}", "it is not a list of COCO results", hint) from error
    if sizes:
        why = f"its boxes have {sizes.pop()} numbers, not {numbers}"
        raise UsageError(
            f"cannot use {path}", why, "jobs/demo/rotated_report.py is for rotated boxes"
        )
    return DetectionTable(
        np.array(image, np.int64),
        np.array(category, np.int64),
        np.array(score, np.float64),
        np.array(bbox, np.float64).reshape(-1, numbers),
    )


def agreement(a: DetectionTable, b: DetectionTable) -> tuple[int, int]:
    """Count the matched detections of both tables, and the counted ones."""
    matched = counted = 0
    for image in np.union1d(a.image, b.image):
        found = match(*(_of_image(table, image) for table in (a, b)))
        matched, counted = matched + found[0], counted + found[1]
    return matched, counted


def _of_image(table: DetectionTable, image: int) -> Detections:
    here = table.image == image
    corners = table.bbox[here]
    corners[:, 2:] += corners[:, :2] - 1
    return Detections(
        table.score[here].astype(np.float32),
        corners.astype(np.float32),
        table.category[here].astype(np.int32),
    )


@click.command(help=__doc__.splitlines()[0])
@click.argument("a", type=click.Path(exists=True, dir_okay=False))
@click.argument("b", type=click.Path(exists=True, dir_okay=False))
@click.option("--annotations", type=click.Path(exists=True, dir_okay=False), required=True)
@click.option("--group-by", help="Entry of the images that are drawn together, such as tile.")
@click.option("--draws", default=1000, show_default=True, type=click.IntRange(min=1))
@click.option("--level", default=0.95, show_default=True, type=click.FloatRange(0, 1))
@click.option("--seed", default=0, show_default=True)
def main(
    a: str, b: str, annotations: str, group_by: str | None, draws: int, level: float, seed: int
) -> None:
    try:
        content = read_tables(annotations)
        ids = [id_text(image["id"]) for image in content["images"]]
        order = np.argsort(image_ranks(ids))  # equal scores by image id, as COCOeval has them
        images = {ids[place]: index for index, place in enumerate(order.tolist())}
        categories = {id_text(c["id"]): i for i, c in enumerate(content["categories"])}
        truth, remarks = read_truth(annotations, images, categories)
        tables = [read_table(path, images, categories) for path in (a, b)]
        groups = np.array(groups_of(content["images"], group_by), np.int64)[order]
    except OdtkError as error:
        raise click.ClickException(str(error)) from error
    for remark in remarks:
        click.echo(f"note: {remark}", err=True)
    rows = compare(truth, *tables, groups=groups, draws=draws, level=level, seed=seed)
    click.echo(f"{'':6}{'a':>8}{'b':>8}{'b - a':>9}   {level:.0%} interval")
    for row in rows:
        click.echo(
            f"{row.name:6}{row.a:8.4f}{row.b:8.4f}{row.b - row.a:+9.4f}"
            f"   {row.low:+.4f} to {row.high:+.4f}"
        )
    matched, counted = agreement(*tables)
    share = f" ({matched / counted:.2%})" if counted else ""
    click.echo(f"{matched:,} of {counted:,} detections matched{share}")


if __name__ == "__main__":
    main()
