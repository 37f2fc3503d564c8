"""Checks that the ids and names of a run can be written to its outputs, before the run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from odtk_ray import storage
from odtk_ray.errors import UsageError

# JSON has escapes for everything that can stand in it; these formats are UTF-8 without escapes.
_PLAIN_TEXT = (".csv", ".parquet")
_SURROGATE = r"\\u[dD][89a-fA-F]"  # in JSON text, also half of a pair, which is fine


def check_text(
    outputs: Sequence[str], records: pa.Table, category_ids: Sequence[str], names: Sequence[str]
) -> None:
    """Check that each output's format can hold the ids of images, and the ids and names of classes.

    Args:
        outputs: paths or URIs.
        records: the planned images.
        category_ids: JSON texts.
        names: of the classes.

    Raises:
        UsageError: one of them has lone surrogates, which UTF-8 cannot hold.
    """
    for path in (path for path in outputs if path.endswith(_PLAIN_TEXT)):
        for what, text in _texts(records, category_ids, names):
            if not storage.is_text(text):
                raise UsageError(
                    f"cannot write {path}",
                    f"{what} {json.dumps(text)} has half a character (a lone surrogate), which "
                    "CSV and Parquet cannot hold",
                    "correct it, or give outputs that end in .json or .jsonl",
                )


def _texts(
    records: pa.Table, category_ids: Sequence[str], names: Sequence[str]
) -> Iterator[tuple[str, str]]:
    yield from (("the class name", name) for name in names)
    yield from (("the category id", str(json.loads(text))) for text in category_ids)
    ids = records["image_id"]
    for text in ids.filter(pc.match_substring_regex(ids, _SURROGATE)).to_pylist():
        yield "the image id", str(json.loads(text))
