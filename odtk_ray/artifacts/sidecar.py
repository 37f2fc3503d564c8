"""`model.plan.json`: the description of a TensorRT plan, which carries none itself."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from odtk_ray.artifacts.exported_model import ExportedModel, parse_model, unusable_model
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
_Bytes = Annotated[int, Range(0, 1 << 50)]


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """The content of the file beside a plan.

    Attributes:
        model: what the network says about itself; its `sha256` is that of the ONNX file, its
            `precision` the plan's.
        batches: least, tuned and greatest batch.
        tensorrt: package and version that built it; that release can run it.
        gpu: name and compute capability that it is bound to; None where it was built without.
        capabilities: compute capabilities that it was built for, without a GPU.
        workspace: bytes that a layer may use besides; None left it to TensorRT.
        plan_sha256: of the plan's file.
        plan_bytes: its length.
    """

    model: ExportedModel
    batches: tuple[Count, Count, Count]
    tensorrt: str
    gpu: tuple[str, str] | None
    capabilities: tuple[str, ...]
    workspace: _Bytes | None = None
    plan_sha256: str = ""
    plan_bytes: _Bytes = 0

    @property
    def identity(self) -> str:
        """The network's name in the plan: a hash of everything that is known before the build."""
        facts = self.facts()
        del facts["plan_sha256"], facts["plan_bytes"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps({"identity": self.identity, **self.facts()}, indent=1) + "\n"

    def facts(self) -> dict[str, Any]:
        """Return all values by name, as JSON has them."""
        model = {k: json.loads(v) for k, v in self.model.to_metadata().items()}
        facts = asdict(self) | {"model": model, "onnx_sha256": self.model.sha256}
        return {"format": FORMAT_VERSION, **facts}


def sidecar_path(plan: str) -> str:
    """Return the path of a plan's sidecar."""
    return f"{plan}.json"


def is_tensorrt_plan(path: str) -> bool:
    """Return whether a model file is a TensorRT plan, by its name."""
    return path.lower().endswith(".plan")


def read_sidecar(plan: str, expect: str | None = None) -> Sidecar:
    """Read a plan's sidecar, and check that it belongs to the plan.

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
        raise unusable_model(plan, why, _AGAIN) from error
    return check_sidecar(plan, content, beside, expect)


def check_sidecar(plan: str, content: bytes, beside: bytes, expect: str | None = None) -> Sidecar:
    """Check that a plan and a sidecar belong together.

    Args:
        plan: where the plan lies, for the errors.
        content: of the plan.
        beside: of the sidecar.
        expect: as in `read_sidecar`.

    Raises:
        UsageError: as in `read_sidecar`.
    """
    try:
        sidecar = parse_sidecar(plan, parse_json(beside))
    except WrongJsonError as error:
        raise unusable_model(plan, f"{sidecar_path(plan)} is damaged: {error}", _AGAIN) from error
    again = f"copy both files again, or build the plan again: {rebuild_command(plan, sidecar)}"
    if len(content) != sidecar.plan_bytes:
        why = f"it has {len(content):,} bytes and should have {sidecar.plan_bytes:,}"
        raise unusable_model(plan, why, again)
    if hashlib.sha256(content).hexdigest() != sidecar.plan_sha256:
        raise unusable_model(plan, f"it is not the plan that {sidecar_path(plan)} describes", again)
    if expect is not None and sidecar.plan_sha256 != expect:
        why = f"its hash is {sidecar.plan_sha256[:12]} and this run's is {expect[:12]}"
        raise unusable_model(
            plan, why, "put the same file on every machine, and do not change it during the run"
        )
    return sidecar


def same_release(tensorrt: str, other: str) -> bool:
    """Return whether two TensorRTs are of one package and one version.

    Three parts count. What builds plans in C++ knows no more: `tensorrt 10.3.0` and
    `tensorrt 10.3.0.26` are the same release.
    """
    return tensorrt.split(".")[:3] == other.split(".")[:3]


def check_machine(plan: str, about: Sidecar, tensorrt: str, gpu: tuple[str, str]) -> None:
    """Refuse a plan that was built for another machine, before TensorRT is asked.

    Args:
        plan: its path.
        about: its sidecar.
        tensorrt: package and version that would run it.
        gpu: name and compute capability of the GPU here.

    Raises:
        UsageError: TensorRT or the GPU is another one; the hint is the command that rebuilds it.
    """
    found, bound = " ".join(gpu), " ".join(about.gpu or ())
    if not same_release(tensorrt, about.tensorrt):
        why = f"it was built by {about.tensorrt} and this machine has {tensorrt}"
    elif about.gpu is not None and gpu != about.gpu:
        why = f"it was built on {bound} and this machine has {found}"
    elif about.capabilities and gpu[1] not in about.capabilities:
        why = f"it was built for {', '.join(about.capabilities)} and this machine has {found}"
    else:
        return
    raise unusable_model(plan, why, f"build it here: {rebuild_command(plan, about)}")


def rebuild_command(plan: str, about: Sidecar) -> str:
    """Return the command that builds such a plan again."""
    height, width = about.model.size
    flags = {
        "fp32": " --full-precision",
        "fp16": "",
        "int8": " --int8 --calibration-table TABLE",
    }[about.model.precision]
    command = f"odtk-ray export MODEL.pth {shlex.quote(plan)} --size {height} {width}{flags}"
    command += _OUTPUTS[about.model.outputs]
    command += f" --dynamic-batch-opts {' '.join(map(str, about.batches))}"
    if about.workspace is not None:
        command += f" --workspace {about.workspace >> 20}"
    for capability in about.capabilities:
        command += f" --compute-capability {capability}"
    for name, value in asdict(about.model.post).items():
        if value != getattr(Postprocessing, name):
            command += f" --{name.replace('_', '-')} {value}"
    return command


_OUTPUTS = {
    "raw": "",
    "detections": " --with-postprocess",
    "plugin": " --with-postprocess --plugin",
}
_AGAIN = "copy both files again, or build the plan again: odtk-ray export MODEL OUTPUT.plan"


def parse_sidecar(plan: str, facts: Any) -> Sidecar:
    """Build a sidecar from its JSON values, each checked.

    Raises:
        UsageError: the format is newer, or the model's description is damaged.
        WrongJsonError: something is missing or was edited.
    """
    try:
        values = typed_versioned(facts, FORMAT_VERSION)
    except OtherFormatError as error:
        raise unusable_model(plan, str(error), _AGAIN) from error
    identity = values.pop("identity", None)
    onnx_sha256 = typed(values.pop("onnx_sha256", None), str, "onnx_sha256")
    values["model"] = parse_model(plan, values.get("model"), onnx_sha256)
    sidecar = typed(values, Sidecar)
    least, tuned, greatest = sidecar.batches
    if not least <= tuned <= greatest:
        raise WrongJsonError(f"batches is {list(sidecar.batches)}, not in rising order")
    if sidecar.identity != identity:
        raise WrongJsonError("it was edited")
    return sidecar
