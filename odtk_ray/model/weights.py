"""Checks a checkpoint's tensors against the network its settings describe, and hashes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from odtk_ray.model.backbones import unused_tensors, without_data
from odtk_ray.model.pth import CheckpointSettings, unusable_checkpoint
from odtk_ray.model.retinanet import RetinaNet
from odtk_ray.ops.anchors import DEFAULT_ANGLES

COUNTER = "num_batches_tracked"  # BatchNorm's, not in files of odtk train
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def skeleton(settings: CheckpointSettings) -> RetinaNet:
    """Build the network without data: no memory is allocated, no random number drawn."""
    with without_data():
        return RetinaNet(
            settings.backbones,
            settings.classes,
            anchors=settings.anchors_per_cell,
            box_values=settings.box_values,
            channels=settings.channels,
        )


def unused_weights(backbones: Iterable[str]) -> dict[str, Tensor]:
    """Name the tensors of ODTK's files that do nothing, in full, on device `meta`."""
    return {
        f"backbones.{backbone}.features.{name}": tensor
        for backbone in backbones
        for name, tensor in unused_tensors(backbone).items()
    }


def resolve_angles(settings: CheckpointSettings, state: Mapping[Any, Any]) -> CheckpointSettings:
    """Add ODTK's angles to settings without any if the heads show that the boxes are rotated.

    ODTK 0.2.0 and 0.2.1 did not store them. They decide how many anchors there are and nothing
    else: a box takes its theta from the head.
    """
    turned = replace(settings, angles=DEFAULT_ANGLES)
    heads = _read_heads(settings, {k: v for k, v in state.items() if _is_plain(v)})
    lacking = not settings.rotated and heads == (turned.anchors_per_cell, True)
    return turned if lacking else settings


def check_weights(
    path: str | Path, settings: CheckpointSettings, state: Mapping[Any, Any]
) -> dict[str, Tensor]:
    """Select the tensors that inference uses, and check each of them.

    Args:
        path: named in the errors.
        settings: what the file says about its network.
        state: the file's `state_dict`; counters and unused tensors may be there or not.

    Raises:
        UsageError: tensors are missing, unexpected, of another type or shape, larger than what is
            stored of them, or not finite.
    """
    known = skeleton(settings).state_dict()
    expected = {name: t.shape for name, t in known.items() if not name.endswith(COUNTER)}
    ignored = known.keys() | unused_weights(settings.backbones).keys()
    odd = [name for name in expected if name in state and not _is_plain(state[name])]
    if odd:
        raise unusable_checkpoint(
            path, f"these are not tensors of floating-point numbers: {_some(odd)}"
        )
    weights: dict[str, Tensor] = {name: state[name].detach() for name in expected if name in state}
    _check_heads(path, settings, weights)
    problems = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [str(name) for name in state if name not in ignored],
        "of the wrong shape": [
            f"{name} is {_shape(weight.shape)} and should be {_shape(expected[name])}"
            for name, weight in weights.items()
            if weight.shape != expected[name]
        ],
    }
    found = [f"{len(names)} {kind} ({_some(names)})" for kind, names in problems.items() if names]
    if found:
        network = f"{', '.join(settings.backbones)} with {settings.classes} classes"
        raise unusable_checkpoint(path, f"its tensors do not fit {network}: {', '.join(found)}")
    small = [name for name, weight in weights.items() if _stored_bytes(weight) < _bytes(weight)]
    if small:
        stored, all_of_it = (f(weights[small[0]]) for f in (_stored_bytes, _bytes))
        why = f"{small[0]} repeats {stored:,} stored bytes to make {all_of_it:,}"
        raise unusable_checkpoint(path, why, "save its tensors with .contiguous()")
    for name, weight in weights.items():
        # numpy's test: torch's takes twenty times as long when the cores are shared.
        if not np.isfinite(weight.float().numpy()).all():
            raise unusable_checkpoint(
                path, f"{name} holds NaN or infinity", "the training has diverged"
            )
    return weights


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dtype in _FLOATS
        and value.layout is torch.strided
        and not value.is_meta
    )


def _bytes(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()


def _stored_bytes(weight: Tensor) -> int:
    """Return the bytes behind a tensor: fewer than its own where strides of 0 repeat them."""
    return weight.untyped_storage().nbytes()


def _check_heads(
    path: str | Path, settings: CheckpointSettings, weights: Mapping[str, Tensor]
) -> None:
    """Explain the most common mismatch, heads for other anchors."""
    heads = _read_heads(settings, weights)
    if heads is None:
        return
    anchors, rotated = heads
    if rotated and not settings.rotated:
        why = f"its heads are those of a rotated model with {anchors} anchors a cell, but it has no"
        raise unusable_checkpoint(
            path, f"{why} 'angles'", "store the angles of the training in the file"
        )
    if settings.rotated and not rotated:
        why = "it has 'angles', but its heads are those of an axis-aligned model"
        raise unusable_checkpoint(path, why, "take 'angles' out of the file")
    if anchors != settings.anchors_per_cell:
        why = (
            f"its heads have {anchors} anchors a cell, "
            f"but its ratios, scales and angles make {settings.anchors_per_cell}"
        )
        raise unusable_checkpoint(
            path, why, "store the ratios and scales of the training in the file"
        )


def _read_heads(
    settings: CheckpointSettings, weights: Mapping[str, Tensor]
) -> tuple[int, bool] | None:
    """Infer anchors per cell and whether boxes are rotated from the shapes of the last layers.

    A head has anchors * classes or anchors * box values outputs.
    """
    logits, deltas = (weights.get(f"{head}_head.8.weight") for head in ("cls", "box"))
    if logits is None or deltas is None or not logits.dim() == deltas.dim() == 4:
        return None
    anchors, rest = divmod(logits.shape[0], settings.classes)
    if anchors == 0 or rest or deltas.shape[0] not in (4 * anchors, 6 * anchors):
        return None
    return anchors, deltas.shape[0] == 6 * anchors


def _some(names: Sequence[str], most: int = 2) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "one number"


def digest(settings: CheckpointSettings, generation: str, weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256, in hex, of everything that determines the network's result.

    Args:
        settings: backbones, classes and anchors are part of it.
        generation: of the anchors, `current` or `legacy`.
        weights: the tensors that inference uses; their order and strides do not matter.
    """
    anchors = [settings.ratios, settings.scales, settings.angles, generation]
    head = [settings.backbones, settings.classes, anchors]
    state = hashlib.sha256(json.dumps(head).encode())
    for name in sorted(weights):
        # Flat first: a 1x1 convolution in channels_last counts as contiguous, whatever its strides.
        weight = weights[name].contiguous().reshape(-1)
        entry = [name, str(weight.dtype), list(weights[name].shape)]
        state.update(json.dumps(entry).encode())
        state.update(weight.view(torch.uint8).numpy().data)
    return state.hexdigest()
