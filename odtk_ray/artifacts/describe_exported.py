"""Describes an exported model, a TensorRT plan or an engine set in rows for people."""

from __future__ import annotations

from dataclasses import asdict

from odtk_ray.artifacts.engine_set import EngineSet
from odtk_ray.artifacts.exported_model import ExportedModel
from odtk_ray.artifacts.plan_figures import plan_table
from odtk_ray.artifacts.sidecar import Sidecar

_FIXED = {"raw": "", "detections": " (fixed)", "plugin": " (fixed, by a plugin of TensorRT)"}


def describe_exported(path: str, model: ExportedModel) -> list[tuple[str, str]]:
    """Describe an exported model as (name, text) rows for people."""
    names, post = model.class_names, model.post
    values = asdict(post)
    if not model.rotated:
        del values["rotated_nms"]
    made = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in values.items())
    rows = [
        ("file", path),
        ("backbone", ", ".join(model.backbones)),
        ("classes", f"{model.classes}" + (f": {', '.join(names)}" if names else "")),
        ("category ids", ", ".join(map(str, model.category_ids or ()))),
        ("boxes", "rotated" if model.rotated else "axis-aligned"),
        ("input", f"{model.size[0]}x{model.size[1]} (height x width)"),
        ("precision", model.precision),
        ("outputs", ", ".join(model.output_names)),
        ("anchors", model.anchors),
        ("ratios", ", ".join(f"{value:.4g}" for value in model.ratios)),
        ("scales", ", ".join(f"{value:.4g}" for value in model.scales)),
        ("angles", ", ".join(f"{value:.4g}" for value in model.angles or ())),
        ("post-processing", made + (_FIXED[model.outputs])),
        ("checkpoint", model.checkpoint[:12]),
        ("written by", f"odtk-ray {model.version}"),
        ("sha256", model.sha256[:12]),
    ]
    return [(name, text) for name, text in rows if text]


def describe_tensorrt_plan(path: str, plan: Sidecar) -> list[tuple[str, str]]:
    """Describe a TensorRT plan as (name, text) rows for people."""
    bound = [
        ("batch", f"{plan.batches[0]} to {plan.batches[2]}, tuned for {plan.batches[1]}"),
        ("TensorRT", plan.tensorrt),
        ("GPU", " ".join(plan.gpu or ())),
        ("compute capability", ", ".join(plan.capabilities)),
    ]
    return describe_exported(path, plan.model) + [(name, text) for name, text in bound if text]


def describe_engine_set(path: str, engines: EngineSet) -> list[tuple[str, str]]:
    """Describe an engine set as (name, text) rows for people.

    Each plan has a row, and a line in the table of what was measured.
    """
    sizes = dict.fromkeys(f"{h}x{w}" for _, (h, w) in engines.variants)
    several = {
        "input": f"{', '.join(sizes)} (height x width)",
        "precision": ", ".join(dict.fromkeys(name for name, _ in engines.variants)),
    }
    rows = [
        (name, several.get(name, text)) for name, text in describe_exported(path, engines.model)
    ]
    for key, about in engines.engines.items():
        least, tuned, greatest = about.batches
        rows.append(
            ("plan", f"{key}.plan ({about.plan_bytes / 1e6:.1f} MB): {' '.join(about.gpu or ())}, "
             f"{about.tensorrt}, batch {least} to {greatest}, tuned for {tuned}")
        )  # fmt: skip
    table = plan_table(engines.engines, engines.figures)
    return [*rows, *zip(("measured", *[""] * len(table)), table, strict=False)]
