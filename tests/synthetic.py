"""Made-up things that tests share: pictures, a tiny model, a silent reporter, finished runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from odtk_ray.artifacts.exported_model import ExportedModel
from odtk_ray.records import RECORD_SCHEMA, Detections, ImageResult
from odtk_ray.settings import MEAN, STD, Postprocessing, Preprocessing, RunSettings
from odtk_ray.shards.cut_shards import cut_shards
from odtk_ray.shards.run_folder import RunFolder
from odtk_ray.shards.run_plan import RunPlan
from odtk_ray.shards.shard_file import Receipt, write_shard

_ANCHORS = tuple((tuple(float(side) for side in (0, 0, s, s)),) for s in (8, 16, 32, 64, 128))
# What some exported model says about itself.
ABOUT = ExportedModel(
    backbones=("ResNet18FPN",),
    classes=2,
    class_names=("cat", "dög"),
    category_ids=(3, "b"),
    ratios=(1.0,),
    scales=(4.0,),
    angles=None,
    anchors="current",
    strides=(8, 16, 32, 64, 128),
    anchor_boxes=_ANCHORS,
    size=(64, 96),
    mean=MEAN,
    std=STD,
    outputs="raw",
    precision="fp32",
    post=Postprocessing(0.1, 20, 0.4, 7),
    checkpoint="ab" * 32,
    version="0.1.0",
)

SIZES = [(640, 480), (480, 640), (612, 612), (333, 500)]


def picture(seed: int, width: int, height: int) -> Image.Image:
    """Smooth coloured noise: compresses like a photograph, and no two seeds are alike."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (max(2, height // 24), max(2, width // 24), 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def tiny_model(path: Path, angles: tuple[float, ...] | None = None, seed: int = 7) -> Path:
    """Saves a ResNet18FPN of 3 classes and 8 channels with seeded weights that detect plenty."""
    import torch

    from odtk_ray.model.checkpoint import save_checkpoint
    from odtk_ray.model.retinanet import RetinaNet
    from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

    generator = torch.Generator().manual_seed(seed)
    shape = {} if angles is None else {"anchors": 27, "box_values": 6}
    model = RetinaNet(["ResNet18FPN"], 3, channels=8, **shape)
    state = {}
    for name, tensor in model.state_dict().items():
        if tensor.dim() == 4:
            fan_in = tensor[0].numel()
            state[name] = torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5
        elif name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight")):
            state[name] = torch.ones(tensor.shape)
        else:
            state[name] = torch.zeros_like(tensor)
    state["cls_head.8.weight"] *= 4
    state["cls_head.8.bias"] -= 2
    state["box_head.8.weight"] *= 0.2 if angles is None else 0.02
    if angles is not None:
        state["cls_head.8.weight"] *= 0.25
    model.load_state_dict(state)
    save_checkpoint(path, model, ratios=DEFAULT_RATIOS, scales=DEFAULT_SCALES, angles=angles)
    return path


def figures(metrics: bytes) -> dict:
    """What a metrics file says of the detections, without what it says of its run."""
    document = json.loads(metrics)
    for name in ("settings", "options", "pace"):
        del document[name]
    return document


class Quiet:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.seen: list[tuple[int, int]] = []
        self.stages: list[str] = []
        self.windows_seen: list[tuple[int, int]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def windows(self, done: int, total: int) -> None:
        self.windows_seen.append((done, total))

    def note(self, text: str, hint: str = "") -> None:
        self.notes.append(f"{text}\n  hint: {hint}" if hint else text)

    def warn(self, text: str, hint: str = "") -> None:
        self.warnings.append(f"{text}\n  hint: {hint}" if hint else text)

    def begin(self, total: int, done: int) -> None:
        self.seen.append((done, 0))

    def progress(self, done: int, failed: int) -> None:
        self.seen.append((done, failed))

    def end(self) -> None:
        pass


class Acting(Quiet):
    """Does something once, when the first images are done."""

    def __init__(self, action) -> None:
        super().__init__()
        self._action = action

    def progress(self, done: int, failed: int) -> None:
        super().progress(done, failed)
        if done and self._action is not None:
            action, self._action = self._action, None
            action()


def make_records(ids, names=None, sizes=None):
    names = names or [f"{i:06d}.jpg" for i in range(len(ids))]
    sizes = sizes or [SIZES[(i * 7) % len(SIZES)] for i in range(len(ids))]
    columns = [
        range(len(ids)),
        [json.dumps(i) for i in ids],
        names,
        [f"/data/{name}" for name in names],
        [w for w, _ in sizes],
        [h for _, h in sizes],
        [json.dumps({"id": i, "file_name": n}) for i, n in zip(ids, names, strict=True)],
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, RECORD_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=RECORD_SCHEMA)


def detections(rng, count, classes=3, rotated=False):
    corner = rng.uniform(0, 300, (count, 2))
    size = rng.uniform(1, 200, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    if rotated:
        theta = rng.uniform(-np.pi, np.pi, (count, 1)).astype(np.float32)
        boxes = np.concatenate([boxes, np.sin(theta), np.cos(theta)], axis=1)
    scores = -np.sort(-rng.uniform(0.05, 1, count)).astype(np.float32)
    return Detections(scores, boxes, rng.integers(0, classes, count).astype(np.int32))


def make_results(n, seed=0, failed=(), rotated=False):
    rng = np.random.default_rng(seed)
    results = []
    for i in range(n):
        found = detections(rng, int(rng.integers(0, 6)), rotated=rotated)
        result = ImageResult(None, 640, 480, found)
        results.append(ImageResult.failed("broken") if i in failed else result)
    return results


def run_settings(**changes):
    """Settings of a run on a CPU worker."""
    settings = RunSettings(
        model="0" * 64,
        annotations="",
        images="images",
        recursive=False,
        limit=None,
        allow_missing=False,
        full_precision=False,
        fallback=False,
        preprocessing=Preprocessing(),
        postprocessing=Postprocessing(),
        versions={},
    )
    return replace(settings, **changes)


def make_run_plan(ids, categories=None, launch_batch=4, has_truth=False, rotated=False):
    records = make_records(ids)
    settings = run_settings(rotated=rotated, launch_batch=launch_batch)
    outputs = {
        "category_ids": [json.dumps(c["id"]) for c in categories or []] or ["0", "1", "2"],
        "category_names": [c["name"] for c in categories or []] or ["0", "1", "2"],
        "positions": list(range(len(categories or []))),
        "categories": categories,
        "has_truth": has_truth,
        "missing": [],
    }
    return RunPlan(settings, outputs, records, cut_shards(records, Preprocessing(), launch_batch))


def attempt_shard(run, shard, results, attempt="1.1"):
    """Writes the file of a shard; returns the receipt."""
    rows = [(int(i), results[i]) for i in shard.rows]
    name, sha256 = write_shard(
        run.path, shard.number, attempt, rows, engine="test", digest=run.digest
    )
    return Receipt(
        shard=shard.number,
        name=name,
        sha256=sha256,
        rows=len(rows),
        failed=sum(result.error is not None for _, result in rows),
        detections=sum(len(result.detections) for _, result in rows),
        engine="test",
    )


def commit_shard(run, shard, results):
    return run.commit(attempt_shard(run, shard, results))


def make_run(path, ids, results, **options):
    run = RunFolder.create(str(path), make_run_plan(ids, **options))
    for shard in run.plan.shards:
        commit_shard(run, shard, results)
    return run
