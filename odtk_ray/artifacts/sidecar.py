"""`model.plan.json`: what a TensorRT plan is, since the plan itself does not say."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from odtk_ray.artifacts.exported_model import ExportedModel, parse_facts, unusable
from odtk_ray.errors import UsageError
from odtk_ray.plural import counted
from odtk_ray.settings import Postprocessing

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What lies beside a plan.

    Attributes:
        model: what the network says about itself; its `sha256` is that of the ONNX file, its
            `precision` the plan's.
        batches: least, tuned and greatest batch.
        tensorrt: package and version that built it and can run it.
        gpu: name and compute capability that it is bound to; None where it was built without.
        capabilities: compute capabilities that it was built for, without a GPU.
        workspace: bytes that a layer may use besides; None left it to TensorRT.
        plan_sha256: of the plan's file.
        plan_bytes: its length.
    """

    model: ExportedModel
    batches: tuple[int, int, int]
    tensorrt: str
    gpu: tuple[str, str] | None
    capabilities: tuple[str, ...]
    workspace: int | None = None
    plan_sha256: str = ""
    plan_bytes: int = 0

    @property
    def identity(self) -> str:
        """The network's name in the plan: a hash of everything that was known before the build."""
        facts = self.facts()
        del facts["plan_sha256"], facts["plan_bytes"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps({"identity": self.identity, **self.facts()}, indent=1) + "\n"

    def facts(self) -> dict[str, Any]:
        """Everything in it, as JSON values by name."""
        model = {k: json.loads(v) for k, v in self.model.to_metadata().items()}
        facts = asdict(self) | {"model": model, "onnx_sha256": self.model.sha256}
        return {"format": FORMAT_VERSION, **facts}


def sidecar_path(plan: str) -> str:
    """Where the sidecar of a plan lies."""
    return f"{plan}.json"


def is_plan(path: str) -> bool:
    """Whether a model file is a TensorRT plan, by its name."""
    return path.lower().endswith(".plan")


def read_sidecar(plan: str, expect: str | None = None) -> Sidecar:
    """Reads what a plan is, and sees that the plan is that one.

    Args:
        plan: path of the plan.
        expect: the SHA-256 that the plan must have, so that every worker runs the driver's.

    Raises:
        UsageError: one of the two files is missing, damaged, or of another plan.
    """
    try:
        content = Path(plan).read_bytes()
        beside = Path(sidecar_path(plan)).read_bytes()
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise unusable(plan, why, _AGAIN) from error
    return check_pair(plan, content, beside, expect)


def check_pair(plan: str, content: bytes, beside: bytes, expect: str | None = None) -> Sidecar:
    """Sees that a plan and a sidecar belong together.

    Args:
        plan: where the plan lies, for the errors.
        content: of the plan.
        beside: of the sidecar.
        expect: as in `read_sidecar`.

    Raises:
        UsageError: as in `read_sidecar`.
    """
    try:
        sidecar = parse_sidecar(plan, json.loads(beside))
    except _DAMAGED as error:
        raise unusable(plan, f"{sidecar_path(plan)} is damaged", _AGAIN) from error
    again = f"copy both files again, or build the plan again: {rebuild_command(plan, sidecar)}"
    if len(content) != sidecar.plan_bytes:
        why = f"it has {counted(len(content), 'byte')} and should have {sidecar.plan_bytes:,}"
        raise unusable(plan, why, again)
    if hashlib.sha256(content).hexdigest() != sidecar.plan_sha256:
        raise unusable(plan, f"it is not the plan that {sidecar_path(plan)} describes", again)
    if expect is not None and sidecar.plan_sha256 != expect:
        why = f"its hash is {sidecar.plan_sha256[:12]} and this run's is {expect[:12]}"
        raise unusable(plan, why, "put the same file on every machine, and leave it there")
    return sidecar


def check_machine(plan: str, about: Sidecar, tensorrt: str, gpu: tuple[str, str]) -> None:
    """Refuses a plan that was built for another machine, before TensorRT is asked.

    Args:
        plan: its path.
        about: its sidecar.
        tensorrt: package and version that would run it.
        gpu: name and compute capability of the GPU here.

    Raises:
        UsageError: TensorRT or the GPU is another one; the hint is the command that rebuilds it.
    """
    found, bound = " ".join(gpu), " ".join(about.gpu or ())
    if tensorrt != about.tensorrt:
        why = f"it was built by {about.tensorrt} and this machine has {tensorrt}"
    elif about.gpu is not None and gpu != about.gpu:
        why = f"it was built on {bound} and this machine has {found}"
    elif about.capabilities and gpu[1] not in about.capabilities:
        why = f"it was built for {', '.join(about.capabilities)} and this machine has {found}"
    else:
        return
    raise unusable(plan, why, f"build it here: {rebuild_command(plan, about)}")


def rebuild_command(plan: str, about: Sidecar) -> str:
    """The command that makes such a plan anew."""
    height, width = about.model.size
    flags = {
        "fp32": " --full-precision",
        "fp16": "",
        "int8": " --int8 --calibration-table TABLE",
    }[about.model.precision]
    command = f"odtk-ray export MODEL.pth {shlex.quote(plan)} --size {height} {width}{flags}"
    command += f" --dynamic-batch-opts {' '.join(map(str, about.batches))}"
    if about.workspace is not None:
        command += f" --workspace {about.workspace >> 20}"
    for capability in about.capabilities:
        command += f" --compute-capability {capability}"
    for name, value in asdict(about.model.post).items():
        if value != getattr(Postprocessing, name):
            command += f" --{name.replace('_', '-')} {value}"
    return command


# What reading edited JSON can raise.
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
_AGAIN = "copy both files again, or build the plan again: odtk-ray export MODEL OUTPUT.plan"


def parse_sidecar(plan: str, facts: Mapping[str, Any]) -> Sidecar:
    """Builds a sidecar from its JSON values, each checked.

    Raises:
        UsageError: the format is newer, or the model's description is damaged.
        ValueError, KeyError, TypeError, AttributeError: something is missing or was edited.
    """
    if facts["format"] != FORMAT_VERSION:
        raise UsageError(f"cannot use model {plan}", f"its format is {facts['format']!r}", _AGAIN)
    model = {key.rpartition(".")[2]: json.dumps(value) for key, value in facts["model"].items()}
    least, tuned, greatest = facts["batches"]
    gpu, workspace = facts["gpu"], facts["workspace"]
    sidecar = Sidecar(
        model=parse_facts(plan, model, str(facts["onnx_sha256"])),
        batches=(int(least), int(tuned), int(greatest)),
        tensorrt=str(facts["tensorrt"]),
        gpu=None if gpu is None else (str(gpu[0]), str(gpu[1])),
        capabilities=tuple(map(str, facts["capabilities"])),
        workspace=None if workspace is None else int(workspace),
        plan_sha256=str(facts["plan_sha256"]),
        plan_bytes=int(facts["plan_bytes"]),
    )
    if sidecar.identity != facts["identity"]:
        raise ValueError("edited")
    return sidecar
