"""The inputs of a run: read as `infer` reads them, in a process that may crash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from odtk_ray.plural import counted
from odtk_ray.stack.finding import Finding, ok, problem, warning
from odtk_ray.stack.prober import ProbeError, Prober

_DECODED = 8  # images that are decoded


def check_inputs(
    prober: Prober, model: str | None, images: str | None, annotations: str | None
) -> Iterator[Finding]:
    """Read a model, images and an annotation file, as far as they are given.

    Together they are checked for classes that do not fit; the first images are decoded.
    """
    given = model or "", images or ".", annotations
    calls = {
        "model": (model, read_model),
        "images": (images or annotations, read_images),
        "classes": (model and annotations, read_classes),
    }
    for name, (wanted, call) in calls.items():
        if not wanted:
            continue
        try:
            found = prober.ask(call, *given)
        except ProbeError as error:
            yield problem(name, str(error), "infer would end with the same")
            if name != "classes":
                return
            continue
        yield ok(name, found["text"])
        for text, hint in found["warnings"]:
            yield warning(name, text, hint)


class _Remarks:
    """Keeps what a run would warn of."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str]] = []

    def note(self, text: str, hint: str = "") -> None:
        """Leave out what a run merely notes."""

    def warn(self, text: str, hint: str = "") -> None:
        """Keep a warning."""
        self.warnings.append((text, hint))


def read_model(model: str, images: str, annotations: str | None) -> dict[str, Any]:
    """Open a model as a run does, in the process of a prober."""
    from odtk_ray.model.describe_model import describe_model

    config = _config(model, images, annotations)
    about = dict(describe_model(model, "auto"))
    _open(config)
    named = ("backbone", "classes", "boxes", "precision", "input", "GPU", "TensorRT")
    text = ", ".join(f"{name} {about[name]}" for name in named if name in about)
    return {"text": f"{model}: {text}", "warnings": []}


def read_images(model: str, images: str, annotations: str | None) -> dict[str, Any]:
    """List the images as a run does, and decode the first ones, in the process of a prober."""
    from odtk_ray.errors import ImageError
    from odtk_ray.images.decode_image import decode_image
    from odtk_ray.images.image_file import read_image_file
    from odtk_ray.settings import Preprocessing

    dataset, prep, failed = _find(images, annotations), Preprocessing(), []
    paths = dataset.records["path"].slice(0, _DECODED).to_pylist()
    for path in paths:
        try:
            data = read_image_file(path, prep)
            if isinstance(data, bytes):
                decode_image(data, prep)
        except (OSError, ImageError) as error:
            failed.append(f"{path}: {error}")
    warnings = [(finding.text, finding.remedy) for finding in dataset.findings]
    if failed:
        warnings.append((f"{len(failed)} of the first {len(paths)} fail, first {failed[0]}", ""))
    text = f"{counted(len(dataset.records), 'image')} in {images}, the first {len(paths)} decoded"
    return {"text": text, "warnings": warnings}


def read_classes(model: str, images: str, annotations: str | None) -> dict[str, Any]:
    """Compare a model's classes with an annotation file's, in the process of a prober."""
    from odtk_ray.run.draft_run import RunInputs, draft_run

    config, remarks = _config(model, images, annotations), _Remarks()
    dataset = _find(images, annotations)
    inputs = RunInputs(config, dataset.digest, dataset=dataset)
    draft = draft_run(inputs, _open(config), remarks)
    note = draft.classes.note if draft.classes else ""
    return {"text": note, "warnings": []}


def _config(model: str, images: str, annotations: str | None) -> Any:
    from odtk_ray.config import InferConfig

    return InferConfig(model, images=images, annotations=annotations)


def _open(config: Any) -> Any:
    from odtk_ray.run.choose_plans import read_plans
    from odtk_ray.run.draft_run import RunInputs, open_run_model

    return open_run_model(RunInputs(config, "", read_plans(config, _Remarks())))


def _find(images: str, annotations: str | None) -> Any:
    from odtk_ray.datasets.coco import read_coco
    from odtk_ray.datasets.image_sources import find_images

    if annotations is None:
        return find_images(images, recursive=False, limit=None)
    return read_coco(annotations, images)
