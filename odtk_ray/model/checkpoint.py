"""Loads and checks ODTK's checkpoints; builds the network, describes and saves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from odtk_ray import storage
from odtk_ray.model.pth import (
    DEFAULT_CHANNELS,
    CheckpointSettings,
    parse_settings,
    read_pth,
    unusable_checkpoint,
)
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.model.weights import (
    COUNTER,
    check_weights,
    digest,
    resolve_angles,
    skeleton,
    unused_weights,
)
from odtk_ray.settings import AnchorGeneration


@dataclass(frozen=True, kw_only=True)
class Checkpoint(CheckpointSettings):
    """A checkpoint that was checked against the network it describes.

    Attributes:
        path: the file, as it was given.
        anchors: the anchors it was trained with; `legacy` are those from before March 2020.
        anchors_why: how `anchors` was found, a clause for people.
        dtype: of the stored convolution weights, such as `float32` or `float16`.
        state_dict: the tensors that inference uses, as stored, by their names.
        sha256: hex digest of all that decides the network's result: `state_dict`, backbones,
            classes and anchors. File format, optimizer state, counters and unused tensors do not
            change it.
    """

    path: str
    anchors: Literal["current", "legacy"]
    anchors_why: str
    dtype: str
    state_dict: dict[str, Tensor] = field(repr=False, compare=False)
    sha256: str

    def build(self) -> RetinaNet:
        """Build the network: float32, on the CPU, in eval mode, without gradients.

        Weights that are stored as float32 are shared with `state_dict`, not copied.
        """
        model = skeleton(self)
        # A plain table has no version, so BatchNorm supplies the counters that are not in it.
        state = {name: weight.float().contiguous() for name, weight in self.state_dict.items()}
        model.load_state_dict(state, assign=True)
        return model.eval().requires_grad_(False)


def load_checkpoint(
    path: str | Path, anchors: AnchorGeneration = "auto", expect: str | None = None
) -> Checkpoint:
    """Read a checkpoint of ODTK, of any year, and check it completely.

    Args:
        path: a local file of `torch.save`, zip or legacy format.
        anchors: the anchors' generation; with `auto` a file that states its ratios is `current`
            and one that does not is `legacy`, since ODTK began to store them when it changed them.
            Rotated models are `legacy`: ODTK went on to round their anchors.
        expect: the `sha256` that it must have, so that every worker runs the driver's model.

    Raises:
        UsageError: the file cannot be read, is unsafe, is not a checkpoint, its entries or tensors
            do not fit the network that it names, or it is not the one expected.
    """
    content = read_pth(Path(path))
    settings = resolve_angles(parse_settings(path, content), content["state_dict"])
    checked = check_weights(path, settings, content["state_dict"])
    # Copies of what is used: the file may change while they are, and the hash is of the copies.
    weights = {name: weight.clone() for name, weight in checked.items()}
    generation, why = _generation(
        anchors, rotated=settings.rotated, has_ratios=content.get("ratios") is not None
    )
    sha256 = digest(settings, generation, weights)
    if expect is not None and expect != sha256:
        why = f"its model is {sha256[:12]} and this run's is {expect[:12]}"
        raise unusable_checkpoint(
            path, why, "put the same file on every machine, and do not change it during the run"
        )
    return Checkpoint(
        **vars(settings),
        path=str(path),
        anchors=generation,
        anchors_why=why,
        dtype=_dtype(weights),
        state_dict=weights,
        sha256=sha256,
    )


def save_checkpoint(
    path: str | Path,
    model: RetinaNet,
    *,
    ratios: Sequence[float],
    scales: Sequence[float],
    angles: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    category_ids: Sequence[int | str] | None = None,
    half: bool = False,
    drop_unused: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint in ODTK's layout; the file appears whole or not at all.

    Args:
        path: the file to write; one that is there is replaced.
        model: the network, on any device.
        ratios: anchor height / width.
        scales: anchor sizes in strides.
        angles: anchor angles in radians, for rotated boxes.
        class_names: one name for each class.
        category_ids: the data set's id of each class.
        half: store the convolution weights as float16; the rest is small and keeps its range.
        drop_unused: leave out the tensors that do nothing; ODTK itself cannot load such a file.
        extra: more entries, such as `iteration` or `optimizer`.

    Raises:
        UsageError: the entries are not what `load_checkpoint` accepts.
    """
    optional = {
        "angles": None if angles is None else list(angles),
        "class_names": None if class_names is None else list(class_names),
        "category_ids": None if category_ids is None else list(category_ids),
        "channels": None if model.channels == DEFAULT_CHANNELS else model.channels,
    }
    content = {
        **(extra or {}),
        "backbone": list(model.backbones),
        "classes": model.classes,
        "state_dict": _stored(model, half=half, drop_unused=drop_unused),
        "ratios": list(ratios),
        "scales": list(scales),
        **{key: value for key, value in optional.items() if value is not None},
    }
    check_weights(path, parse_settings(path, content), content["state_dict"])
    # A stream, not a name: torch.save writes the name of the file into it.
    with storage.writing(str(path)) as part, open(part, "wb") as file:
        torch.save(content, file)


def describe_checkpoint(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """Describe a checkpoint as (name, text) rows for people."""
    names = checkpoint.class_names
    parameters = sum(
        weight.numel() for name, weight in checkpoint.state_dict.items() if "running_" not in name
    )
    rows = [
        ("file", checkpoint.path),
        ("backbone", ", ".join(checkpoint.backbones)),
        ("classes", f"{checkpoint.classes}" + (f": {', '.join(names)}" if names else "")),
        ("boxes", "rotated" if checkpoint.rotated else "axis-aligned"),
        ("anchors", f"{checkpoint.anchors} ({checkpoint.anchors_why})"),
        ("anchors a cell", str(checkpoint.anchors_per_cell)),
        ("ratios", _numbers(checkpoint.ratios)),
        ("scales", _numbers(checkpoint.scales)),
        ("angles", _numbers(checkpoint.angles or ())),
        ("category ids", ", ".join(map(str, checkpoint.category_ids or ()))),
        ("channels", str(checkpoint.channels)),
        ("parameters", f"{parameters:,}"),
        ("weights", checkpoint.dtype),
        ("iteration", "" if checkpoint.iteration is None else str(checkpoint.iteration)),
        ("sha256", checkpoint.sha256[:12]),
    ]
    return [(name, text) for name, text in rows if text]


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _generation(
    asked: AnchorGeneration, *, rotated: bool, has_ratios: bool
) -> tuple[Literal["current", "legacy"], str]:
    if asked != "auto":
        return asked, "as asked for"
    if rotated:
        return "legacy", "as in all rotated models of ODTK"
    if has_ratios:
        return "current", "the file states its ratios"
    return "legacy", "the file does not state its ratios: from before March 2020"


def _dtype(weights: Mapping[str, Tensor]) -> str:
    return str(weights["cls_head.0.weight"].dtype).removeprefix("torch.")


def _stored(model: RetinaNet, *, half: bool, drop_unused: bool) -> dict[str, Tensor]:
    """Return the tensors to store, without BatchNorm's counters, as odtk train leaves them out."""
    state = {
        name: (tensor.half() if half and tensor.dim() == 4 else tensor).cpu()
        for name, tensor in model.state_dict().items()
        if not name.endswith(COUNTER)
    }
    if drop_unused:
        return state
    unused = unused_weights(model.backbones)
    return state | {
        name: torch.zeros_like(tensor, device="cpu")
        for name, tensor in unused.items()
        if not name.endswith(COUNTER)
    }
