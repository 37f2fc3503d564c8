"""Writes `config.pbtxt`, which tells Triton what a model takes and gives.

The fields are those of ModelConfig in https://github.com/triton-inference-server/common,
protobuf/model_config.proto; the text is protobuf's text format.
"""

from __future__ import annotations

import json

from odtk_ray.artifacts.exported_model import DETECTION_NAMES, INPUT_NAME, ExportedModel

LABELS = "labels.txt"

# What Triton does not know of a model; clients read it from the configuration that they ask for.
_FACTS = ("mean", "std", "class_names", "category_ids", "checkpoint")


def model_config(name: str, about: ExportedModel, backend: str, max_batch: int) -> str:
    """Return the text of `config.pbtxt` for a model that ends in detections.

    Requests are joined to batches of at most `max_batch` images. Before the model is served it runs
    once, on zeros.

    Args:
        name: of the model in the repository.
        about: the model.
        backend: Triton's backend for the file, `onnxruntime` or `tensorrt`.
        max_batch: the greatest batch that the file takes.
    """
    shapes = about.end_shapes
    kinds = dict.fromkeys(shapes, "TYPE_FP32") | {DETECTION_NAMES[2]: "TYPE_INT32"}

    def tensor(end: str) -> str:
        dims = list(shapes[end])
        return f"  {{ name: {_quoted(end)} data_type: {kinds[end]} dims: {dims} }}"

    outputs = ",\n".join(map(tensor, DETECTION_NAMES))
    batching = "dynamic_batching { }\n" if max_batch > 1 else ""
    sample = f"data_type: {kinds[INPUT_NAME]} dims: {list(shapes[INPUT_NAME])} zero_data: true"
    return (
        f"name: {_quoted(name)}\n"
        f"backend: {_quoted(backend)}\n"
        f"max_batch_size: {max_batch}\n"
        f"input [\n{tensor(INPUT_NAME)}\n]\n"
        f"output [\n{outputs}\n]\n"
        f"{batching}"
        "model_warmup {\n"
        '  name: "zeros" batch_size: 1\n'
        f"  inputs {{ key: {_quoted(INPUT_NAME)} value {{ {sample} }} }}\n"
        "}\n"
        f"{_parameters(about)}"
    )


def labels(about: ExportedModel) -> str:
    """Return the text of `labels.txt`: a line for each class, in the order of their indices."""
    names = about.class_names or tuple(map(str, about.category_ids or range(about.classes)))
    return "".join(" ".join(name.split()) + "\n" for name in names)


def _parameters(about: ExportedModel) -> str:
    """Return the facts that clients need, each as JSON."""
    rows = []
    for fact in _FACTS:
        value = _quoted(json.dumps(getattr(about, fact)))
        rows.append(f"parameters {{ key: {_quoted(fact)} value {{ string_value: {value} }} }}\n")
    return "".join(rows)


def _quoted(text: str) -> str:
    """Return a string of protobuf's text format; `text` has no control characters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
