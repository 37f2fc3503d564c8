"""The description that an exported model carries: metadata of ONNX files, or beside plans.

Nothing here needs torch or onnx, so that exported models run and are inspected without them.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from odtk_ray.artifacts.input_size import SIDE_STEP, STRIDES, level_sizes
from odtk_ray.artifacts.onnx_metadata import graph_ends, metadata_props
from odtk_ray.errors import UsageError
from odtk_ray.settings import Postprocessing
from odtk_ray.typed_json import (
    Count,
    OtherFormatError,
    Range,
    WrongJsonError,
    parse_json,
    typed,
    typed_versioned,
)

FORMAT_VERSION = 1
_PREFIX = "odtk_ray."  # of the keys in an ONNX file's metadata_props; the values are JSON

INPUT_NAME = "input_1"
DETECTION_NAMES = ("scores", "boxes", "classes")

Precision = Literal["fp32", "fp16", "int8"]
Outputs = Literal["raw", "detections", "plugin"]

_Positive = Annotated[float, Range(above=0, maximum=1e6)]
_Moderate = Annotated[float, Range(-1e6, 1e6)]


@dataclass(frozen=True)
class ExportedLevel:
    """One pyramid level of an exported model.

    Attributes:
        label: backbone and level, such as `ResNet50FPN/P3`.
        stride: pixels of the network input to one cell.
        height: rows of cells.
        width: columns of cells.
        anchors: float32 [A, 4], xyxy, pixels of the network input, of the cell at the origin.
    """

    label: str
    stride: int
    height: int
    width: int
    anchors: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """Everything that using an exported model requires, besides the file itself.

    Attributes:
        backbones: ODTK's factory names; every one has five levels.
        classes: number of classes.
        class_names: one name for each class, or None.
        category_ids: the data set's id of each class, or None.
        ratios: anchor height / width.
        scales: anchor sizes in strides.
        angles: anchor angles in radians; None for axis-aligned boxes.
        anchors: the generation of the anchors, `current` or `legacy`.
        strides: pixels of the network input to one cell, for each level.
        anchor_boxes: for each level the anchors [A, 4] of the cell at the origin.
        size: height and width of the network input in pixels.
        mean: RGB, on values in [0, 1]; subtracted first.
        std: RGB; divided by.
        outputs: `raw` are `score_1..n` and `box_1..n`; `detections` are `scores, boxes, classes`,
            and so are those of `plugin`, which a plugin of TensorRT's computes.
        precision: of the network.
        post: post-processing values: defaults for raw outputs, fixed in the graph otherwise.
        checkpoint: SHA-256, in hex, of the model that was exported.
        version: of odtk-ray, that wrote it.
        sha256: of the file it was read from; empty before it is written.
    """

    backbones: tuple[str, ...]
    classes: Count
    class_names: tuple[str, ...] | None
    category_ids: tuple[int | str, ...] | None
    ratios: tuple[_Positive, ...]
    scales: tuple[_Positive, ...]
    angles: tuple[_Moderate, ...] | None
    anchors: Literal["current", "legacy"]
    strides: tuple[int, ...]
    anchor_boxes: tuple[tuple[tuple[_Moderate, ...], ...], ...]
    size: tuple[Count, Count]
    mean: tuple[_Moderate, ...]
    std: tuple[_Positive, ...]
    outputs: Outputs
    precision: Precision
    post: Postprocessing
    checkpoint: str
    version: str
    sha256: str = ""

    @property
    def rotated(self) -> bool:
        """Whether the boxes are rotated."""
        return self.angles is not None

    @property
    def ends_in_detections(self) -> bool:
        """Whether post-processing is part of the graph, and its values are fixed."""
        return self.outputs != "raw"

    @property
    def box_values(self) -> int:
        """Numbers of a box: 4, or 6 of a rotated one, where sin and cos of theta follow."""
        return 6 if self.rotated else 4

    @property
    def levels(self) -> list[ExportedLevel]:
        """The pyramid levels, in the order of the outputs."""
        sizes = level_sizes(*self.size) * len(self.backbones)
        labels = [f"{b}/P{n}" for b in self.backbones for n in range(3, 8)]
        tables = [np.array(table, np.float32) for table in self.anchor_boxes]
        rows = zip(labels, self.strides, sizes, tables, strict=True)
        return [ExportedLevel(label, stride, *size, table) for label, stride, size, table in rows]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the graph's outputs, ODTK's."""
        if self.ends_in_detections:
            return DETECTION_NAMES
        numbers = range(1, len(self.strides) + 1)
        return tuple(f"score_{i}" for i in numbers) + tuple(f"box_{i}" for i in numbers)

    @property
    def raw_shapes(self) -> list[tuple[int, int, int]]:
        """Channels, rows and columns of each raw output, in their order."""
        levels = self.levels
        return [
            (len(level.anchors) * count, level.height, level.width)
            for count in (self.classes, self.box_values)
            for level in levels
        ]

    @property
    def end_shapes(self) -> dict[str, tuple[int, ...]]:
        """Dimensions of the graph's input and outputs by name, without that of the batch."""
        shapes: list[tuple[int, ...]] = [*self.raw_shapes]
        if self.ends_in_detections:
            count = self.post.detections
            shapes = [(count,), (count, self.box_values), (count,)]
        return {INPUT_NAME: (3, *self.size)} | dict(zip(self.output_names, shapes, strict=True))

    def to_metadata(self) -> dict[str, str]:
        """Return the `metadata_props` of an ONNX file: one key per fact, values in JSON."""
        facts = {"format": FORMAT_VERSION, **asdict(self)}
        del facts["sha256"]
        return {f"{_PREFIX}{name}": json.dumps(value) for name, value in facts.items()}


def is_onnx(path: str) -> bool:
    """Return whether a model file is ONNX, by its name."""
    return path.lower().endswith(".onnx")


def read_exported(path: str | Path, expect: str | None = None) -> ExportedModel:
    """Read what an ONNX file of `odtk-ray export` says about itself.

    Args:
        path: the file.
        expect: the SHA-256 that it must have, so that every worker runs the driver's model.

    Raises:
        UsageError: it cannot be read, is no ONNX file, was not written by `odtk-ray export`, or is
            not the one expected.
    """
    name = str(path)
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            sha256 = hashlib.sha256(data).hexdigest()
            metadata, ends = dict(metadata_props(data)), graph_ends(data)
    except OSError as error:
        raise unusable_model(name, error.strerror or str(error)) from error
    except (ValueError, LookupError) as error:  # an empty file cannot be mapped
        raise unusable_model(name, "it is damaged, or not an ONNX file", _AGAIN) from error
    if expect is not None and sha256 != expect:
        why = f"its hash is {sha256[:12]} and this run's is {expect[:12]}"
        raise unusable_model(
            name, why, "put the same file on every machine, and do not change it during the run"
        )
    facts = {k.removeprefix(_PREFIX): v for k, v in metadata.items() if k.startswith(_PREFIX)}
    if not facts:
        why = "odtk-ray did not write it, so its anchors and classes are unknown"
        raise unusable_model(name, why, "odtk-ray export model.pth model.onnx")
    model = parse_facts(name, facts, sha256)
    if {end: dims[1:] for end, dims in ends.items()} != model.end_shapes:
        why = f"its graph is not the one that its description says, from {', '.join(ends)[:80]}"
        raise unusable_model(name, why, _AGAIN)
    return model


def parse_facts(name: str, facts: Mapping[str, str], sha256: str) -> ExportedModel:
    """Build the model's description from JSON texts by field name, as `parse_model` does."""
    try:
        values = {key: parse_json(text) for key, text in facts.items()}
    except WrongJsonError as error:
        raise damaged_model(name, error) from error
    return parse_model(name, values, sha256)


def parse_model(name: str, values: Any, sha256: str) -> ExportedModel:
    """Build the model's description from parsed JSON.

    Args:
        name: of the model, for the errors.
        values: table of `format` and all fields but `sha256`, as `to_metadata` names them.
        sha256: of the file that it describes.

    Raises:
        UsageError: a field is missing or not what it should be, or the format is newer.
    """
    try:
        named = typed(values, dict[str, Any], "model")
        plain = {key.removeprefix(_PREFIX): value for key, value in named.items()}
        facts = typed_versioned(plain, FORMAT_VERSION)
        model = typed(facts | {"sha256": sha256}, ExportedModel)
        _check(model)
    except OtherFormatError as error:
        raise unusable_model(name, str(error), "export it with this version of odtk-ray") from error
    except ValueError as error:
        raise damaged_model(name, error) from error
    return model


def damaged_model(name: str, error: ValueError) -> UsageError:
    """Create the error for a description that is not what `export` writes."""
    return unusable_model(name, f"its description is damaged: {error}", _AGAIN)


def unusable_model(path: str, why: str, hint: str = "") -> UsageError:
    """Create the error for an exported model that cannot be used."""
    return UsageError(f"cannot use model {path}", why, hint)


_AGAIN = "copy the file again, or export the model again"


def _check(model: ExportedModel) -> None:
    """Check that the parts fit together; raise ValueError otherwise."""
    cell = len(model.ratios) * len(model.scales) * len(model.angles or (0.0,))
    tables = [len(table) for table in model.anchor_boxes]
    named = [len(names) for names in (model.class_names, model.category_ids) if names is not None]
    right = {
        "strides": model.strides == STRIDES * len(model.backbones) != (),
        "anchor_boxes": tables == [cell] * len(model.strides)
        and all(len(box) == 4 for table in model.anchor_boxes for box in table),
        "class_names or category_ids": all(count == model.classes for count in named),
        "mean or std": len(model.mean) == len(model.std) == 3,
        "size": all(side % SIDE_STEP == 0 for side in model.size),
    }
    wrong = [name for name, fits in right.items() if not fits]
    if wrong:
        raise ValueError(f"its {', '.join(wrong)} cannot be right")
