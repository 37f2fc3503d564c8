"""What is done with modules of the tree under test, in processes of its own: `Tree.program`."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import make_inputs
from tree_under_test import part

_PHOTOGRAPHS, _SCENES = 3, 6
_SEED = 5_000_000


# What fields were called before they had the names of the options.
_FORMER = {
    "output": "outputs",
    "threads_per_worker": "threads",
    "gpu_type": "gpu_types",
    "dynamic_batch_opts": "batches",
}


def _config(name: str, **values: Any) -> Any:
    """What the tree is asked to do, with the names that its fields have."""
    kind = part(name)
    known = {field.name for field in fields(kind)}
    return kind(**{key if key in known else _FORMER[key]: values[key] for key in values})


def draw_scenes(folder: str) -> None:
    """`scenes/` and `scenes.json`: scenes with rotated boxes, of made-up photographs."""
    pictures = Path(folder) / "scenes"
    pictures.mkdir()
    photographs = [make_inputs.texture(seed, 900, 700) for seed in range(_PHOTOGRAPHS)]
    style = part("Style")()
    scenes = [part("draw_scene")(photographs, style, _SEED, index) for index in range(_SCENES)]
    content = part("coco_content")(scenes, pictures)
    (Path(folder) / "scenes.json").write_text(json.dumps(content), encoding="utf-8")


def run_engine_set(folder: str, images: str) -> None:
    """`engines/` and `fleet.json`: a set built on two simulated nodes, and a run with it there.

    Plans, their choice and their checks are real; an engine of the tests stands in for TensorRT.
    """
    work = Path(folder)
    (work / "signs").mkdir()
    # Of three classes, as many as the engine finds.
    model = part("tiny_model")(work / "tiny.pth")
    export = _config(
        "ExportConfig", model=str(model), output=str(work / "engines"), size=(64, 96),
        dynamic_batch_opts=(2, 4, 8), gpu_type=("all",),
    )  # fmt: skip
    infer = _config(
        "InferConfig", model=export.output, images=images, output=(str(work / "fleet.json"),),
        batch=8, threads_per_worker=1, keep_run=True,
    )  # fmt: skip
    nodes = {"H100": part("H100"), "A10G": part("A10G")}
    # Each node's worker goes on when both have begun, so that the plans of both are used.
    engine = functools.partial(part("NamedEngine"), str(work / "signs"), len(nodes))
    detect, report = part("simulated_machine"), part("Quiet")()
    with part("cluster_head")() as head, part("simulated_cluster")(head) as cluster:
        for kind, gpu in nodes.items():
            cluster.add(kind=kind, **part("node_variables")(gpu))
        built = part("export_set")(replace(export, address=cluster.address), report, detect)
        if built.exit_code:
            raise SystemExit("\n".join(built.lines()))
        part("infer")(replace(infer, address=cluster.address), report, engine, detect)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
