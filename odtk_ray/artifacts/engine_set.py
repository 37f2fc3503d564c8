"""`engines.json`: which plan of a folder is for which GPU.

An engine set is one model at one or several sizes and precisions, built for several kinds of GPUs:

    engines.json              what is here; written last, by the export alone
    <key>.plan                a TensorRT plan, and its sidecar <key>.plan.json
    <GPU and TensorRT>_<hash>.timing
                              timings that the next build for this GPU and TensorRT starts from
    calibration_<size>.json   the ranges of INT8 plans

Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, TypedDict

from odtk_ray import storage
from odtk_ray.artifacts.exported_model import ExportedModel, is_onnx
from odtk_ray.artifacts.plan_figures import PlanFigures
from odtk_ray.artifacts.plan_key import Variant, key_of, variant_of
from odtk_ray.artifacts.sidecar import (
    Sidecar,
    check_sidecar,
    is_tensorrt_plan,
    parse_sidecar,
    same_release,
    sidecar_path,
)
from odtk_ray.errors import UsageError
from odtk_ray.typed_json import OtherFormatError, WrongJsonError, parse_json, typed, typed_versioned

SET_FILE = "engines.json"
FORMAT_VERSION = 2


# What an entry has besides the facts of the plan's sidecar.
_OF_SET = ("plan", "figures")


class _Network(TypedDict):
    """What plans of one size and precision share."""

    onnx_sha256: str
    model: dict[str, Any]


class _Document(TypedDict):
    """The file's JSON, without its format; of its entries, what they do not share.

    Each entry has the name of its network.
    """

    plan_format: int
    models: dict[str, _Network]
    engines: dict[str, dict[str, Any]]


class _FirstDocument(_Network):
    """The same in format 1, which had one size and precision."""

    plan_format: int
    engines: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class EngineSet:
    """The content of `engines.json`.

    Attributes:
        engines: sidecars by key, at least one; those of one variant have the same `model`.
        figures: what was measured when they were built, by key, as far as it is known.
    """

    engines: dict[str, Sidecar]
    figures: dict[str, PlanFigures] = field(default_factory=dict)

    @classmethod
    def of(
        cls, sidecars: Iterable[Sidecar], figures: Mapping[str, PlanFigures] | None = None
    ) -> EngineSet:
        """Make a set of plans of one checkpoint, with what was measured of any of them."""
        engines = dict(sorted((key_of(about), about) for about in sidecars))
        known = figures or {}
        return cls(engines, {key: known[key] for key in engines if key in known})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file without its figures, which names the plans by their hashes."""
        return hashlib.sha256(EngineSet(self.engines).to_json().encode()).hexdigest()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The precisions and sizes of its plans."""
        return tuple(dict.fromkeys(map(variant_of, self.engines.values())))

    def only(self, variant: Variant) -> EngineSet:
        """Return the set of its plans of one precision and size."""
        plans = (about for about in self.engines.values() if variant_of(about) == variant)
        return EngineSet.of(plans, self.figures)

    @property
    def model(self) -> ExportedModel:
        """The model of the first plan, and of all in a set of one variant.

        The set's digest stands for its hash.
        """
        return replace(next(iter(self.engines.values())).model, sha256=self.digest)

    @property
    def batches(self) -> tuple[int, int]:
        """Least and greatest launch that every plan accepts, in a set of one variant."""
        ranges = [about.batches for about in self.engines.values()]
        return max(r[0] for r in ranges), min(r[-1] for r in ranges)

    def find(self, gpu: tuple[str, str], tensorrt: str) -> str | None:
        """Return the key of the plan for a GPU and a TensorRT; None if there is none.

        Of several plans of one release the one that this very TensorRT built is taken.
        """
        fitting = [
            key
            for key, about in self.engines.items()
            if about.gpu == gpu and same_release(about.tensorrt, tensorrt)
        ]
        return min(fitting, key=lambda key: self.engines[key].tensorrt != tensorrt, default=None)

    def to_json(self) -> str:
        """Return the file's text; equal sets have equal texts."""
        models: dict[str, _Network] = {}
        entries, plan_format = {}, 0
        for key, about in self.engines.items():
            facts, name = about.facts(), str(variant_of(about))
            plan_format = facts.pop("format")
            network = _Network(onnx_sha256=facts.pop("onnx_sha256"), model=facts.pop("model"))
            models[name] = network
            plan = {"plan": f"{key}.plan", "model": name, "identity": about.identity}
            entries[key] = plan | facts
            if key in self.figures:
                entries[key]["figures"] = asdict(self.figures[key])
        document = {"format": FORMAT_VERSION, "plan_format": plan_format, "models": models}
        return json.dumps(document | {"engines": entries}, indent=1) + "\n"


def parse_engine_set(path: str, data: bytes) -> EngineSet:
    """Parse `engines.json`.

    Args:
        path: of the set, for the errors.
        data: the file.

    Raises:
        UsageError: it is damaged, or of a newer format.
    """
    try:
        engines = _parse_entries(path, _read_document(parse_json(data)))
    except OtherFormatError as error:
        raise _refused(path, str(error)) from error
    except WrongJsonError as error:
        raise _refused(path, f"{SET_FILE} is damaged: {error}") from error
    for variant in engines.variants:
        least, greatest = engines.only(variant).batches
        if least > greatest:
            raise _refused(path, f"its plans of {variant} have no batch size in common")
    return engines


def _read_document(value: Any) -> _Document:
    """Read the file's JSON, of either format."""
    if not (isinstance(value, dict) and value.get("format") == 1):
        return typed(typed_versioned(value, FORMAT_VERSION), _Document)
    first = typed(typed_versioned(value, 1), _FirstDocument)
    network = _Network(onnx_sha256=first["onnx_sha256"], model=first["model"])
    entries = {key: entry | {"model": "the only one"} for key, entry in first["engines"].items()}
    return _Document(
        plan_format=first["plan_format"], models={"the only one": network}, engines=entries
    )


def _parse_entries(path: str, document: _Document) -> EngineSet:
    sidecars, figures = [], {}
    for key, entry in document["engines"].items():
        network = document["models"].get(str(entry.get("model")))
        if network is None:
            raise WrongJsonError(f"the plan named {reprlib.repr(key)} has a model that is not here")
        common = {"format": document["plan_format"], **network}
        facts = {name: value for name, value in entry.items() if name not in _OF_SET} | common
        sidecars.append(parse_sidecar(path, facts))
        if sidecars[-1].gpu is None or key_of(sidecars[-1]) != key:
            raise WrongJsonError(f"the plan named {reprlib.repr(key)} is another one")
        if "figures" in entry:
            figures[key] = typed(entry["figures"], PlanFigures, "figures")
    if not sidecars:
        raise WrongJsonError("it lists no plans")
    return EngineSet.of(sidecars, figures)


def _refused(path: str, why: str) -> UsageError:
    return UsageError(
        f"cannot use engine set {path}", why, f"odtk-ray export MODEL {path} --gpu-type all"
    )


def is_engine_set(path: str) -> bool:
    """Return whether a model is an engine set: a folder, or a URI with `engines.json` below it."""
    if is_tensorrt_plan(path) or is_onnx(path) or path.lower().endswith(".pth"):
        return False
    path = storage.absolute(path)
    if not storage.is_uri(path):
        return os.path.isdir(path)
    return storage.exists(storage.join(path, SET_FILE))


def read_engine_set(path: str) -> EngineSet:
    """Read which plans a set has.

    Raises:
        UsageError: there is no set, or it is damaged.
    """
    try:
        data = storage.read_bytes(storage.join(storage.absolute(path), SET_FILE))
    except OSError as error:
        raise UsageError(
            f"cannot use engine set {path}",
            f"{SET_FILE}: {error.strerror or error}",
            f"odtk-ray export MODEL {path} --gpu-type all",
        ) from error
    return parse_engine_set(path, data)


def plan_path(folder: str, key: str) -> str:
    """Return the path or URI of a plan of a set."""
    return storage.join(folder, f"{key}.plan")


def read_plan_and_sidecar(folder: str, key: str) -> Sidecar | None:
    """Read the sidecar of a plan of a set; return None if either is missing or damaged.

    Raises:
        OSError: storage does not answer.
    """
    plan = plan_path(folder, key)
    try:
        beside = storage.read_bytes(sidecar_path(plan))
        return check_sidecar(plan, storage.read_bytes(plan), beside)
    except (FileNotFoundError, UsageError):
        return None
