"""The runs whose outputs are hashed. Each gives the hashes of what it wrote, by name."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import Any

import digests
import make_inputs
from tree_under_test import Tree, TreeError

Rows = dict[str, str]

# What results may depend on, besides the machine.
_FIXED = ("--workers", 2, "--threads-per-worker", 1, "--batch", 4)
_ALL = ("out.json", "out.results.json", "out.jsonl", "out.csv", "out.parquet")
_SOME = ("out.json", "out.parquet")
_TREES = ("--images", "inputs/trees", "--annotations", "inputs/trees.json")
_PLAIN = ("--resize", 500, "--max-size", 640)
# 110 / 60 is no power of two, whose rounding would hide how boxes are scaled.
_MANY = ("--images", "inputs/many", "--resize", 110)
# An output with fewer detections would stay the same whatever is changed.
_LEAST = 100
_BUCKET = "outputs"


def checkpoint(tree: Tree) -> Rows:
    """A checkpoint on annotated pictures: all formats, figures, drawings, and the run folder."""
    flags = (*_TREES, *_PLAIN, "--draw", "checkpoint/drawn", "--keep-run")
    rows = _infer(tree, "checkpoint", "trees.pth", *flags, outputs=_ALL)
    rows["metrics.json"] = _metrics(tree, "checkpoint")
    rows["drawn"] = digests.of_folder(tree.work / "checkpoint/drawn")
    rows |= _run_folder(tree, "checkpoint/out.json.run")
    return rows | {"info": _info(tree, "trees.pth")}


def onnx(tree: Tree) -> Rows:
    """ONNX files of a checkpoint, and one of them in ONNX Runtime."""
    size = ("--size", 256, 320)
    tree.odtk_ray("export", "trees.pth", "onnx/raw.onnx", *size)
    tree.odtk_ray("export", "trees.pth", "onnx/detections.onnx", *size, "--with-postprocess")
    names = ("raw.onnx", "detections.onnx")
    rows = {name: _file(tree, f"onnx/{name}") for name in names}
    rows |= _infer(tree, "onnx", "onnx/raw.onnx", *_TREES)
    rows["metrics.json"] = _metrics(tree, "onnx")
    return rows | {"info": _info(tree, "onnx/raw.onnx")}


def rotated(tree: Tree) -> Rows:
    """Rotated boxes: drawn scenes, detections, both tables of figures, DOTA's labels, doctor."""
    folder = tree.work / "rotated"
    tree.program("draw_scenes", folder)
    rows = {"scenes": digests.of_folder(folder / "scenes")}
    rows["scenes.json"] = _file(tree, "rotated/scenes.json")
    flags = ("--images", "rotated/scenes", "--annotations", "rotated/scenes.json", "--rotated-bbox")
    rows |= _infer(tree, "rotated", "shapes.pth", *flags, "--resize", 640, outputs=_ALL)
    rows["metrics.json"] = _metrics(tree, "rotated")
    tree.odtk_ray("convert", "rotated/out.json", "rotated/dota")
    rows["dota"] = digests.of_folder(folder / "dota")
    tree.odtk_ray("doctor", *flags, "--samples", "rotated/doctor.png")
    return rows | {"doctor.png": _file(tree, "rotated/doctor.png")}


def tiles(tree: Tree) -> Rows:
    """Pictures in tiles; the TIFFs have more pixels than may be decoded at once."""
    flags = ("--images", "inputs/tiles", "--annotations", "inputs/tiles.json")
    cut = ("--tile", 256, "--overlap", 64, "--resize", 384, "--max-size", 384)
    rows = _infer(tree, "tiles", "trees.pth", *flags, *cut, "--max-pixels", 250_000)
    return rows | {"metrics.json": _metrics(tree, "tiles")}


def resume(tree: Tree) -> Rows:
    """A driver that is killed after its first commits, and the run that goes on with them.

    Raises:
        TreeError: it was killed too late, or an undisturbed run gives other outputs.
    """
    for name in ("whole", "killed"):
        (tree.work / "resume" / name).mkdir()
    whole = _infer(tree, "resume/whole", "trees.pth", *_MANY, "--keep-run")
    whole |= _run_folder(tree, "resume/whole/out.json.run")
    folder = tree.work / "resume/killed/out.json.run"
    arguments = _arguments("resume/killed", "trees.pth", (*_MANY, "--keep-run"), _SOME)
    tree.kill(*arguments, when=lambda: len(digests.read_journal(folder)) >= 2)
    shards = len(digests.read_journal(tree.work / "resume/whole/out.json.run"))
    before = len(digests.read_journal(folder))
    if before >= shards or (tree.work / "resume/killed/out.json").exists():
        raise TreeError(f"the driver was killed too late: {before} of {shards} shards were there")
    resumed = _infer(tree, "resume/killed", "trees.pth", *_MANY, "--keep-run", "--resume")
    resumed |= _run_folder(tree, "resume/killed/out.json.run")
    if odd := [name for name in whole if whole[name] != resumed[name]]:
        raise TreeError(f"the resumed run gave other bytes than the undisturbed one: {odd}")
    return resumed


def odd_files(tree: Tree) -> Rows:
    """A folder of broken and rare files: exit code 3, and which of them failed."""
    flags = ("--images", "inputs/odd", "--exif", "apply", "--resize", 250)
    rows = _infer(tree, "odd-files", "trees.pth", *flags, outputs=_ALL, code=3)
    failures = _side_file(tree, "odd-files", "failures.jsonl")
    for name, path in (("out.jsonl", "odd-files/out.jsonl"), ("failures.jsonl", failures)):
        rows[name] = digests.of_lines(tree.work / path)
    return rows


def object_storage(tree: Tree) -> Rows:
    """The run `checkpoint` with model, pictures, run folder and outputs in a bucket."""
    with _s3_server() as (variables, files):
        files.mkdir(_BUCKET)
        for name in ("trees.pth", "inputs/trees.json", "inputs/trees"):
            files.put(str(tree.work / name), f"{_BUCKET}/{name}", recursive=True)
        url = f"s3://{_BUCKET}"
        arguments = _arguments(
            f"{url}/results", f"{url}/trees.pth",
            ("--images", f"{url}/inputs/trees", "--annotations", f"{url}/inputs/trees.json",
             *_PLAIN, "--run-dir", f"{url}/state", "--keep-run"),
            _ALL,
        )  # fmt: skip
        tree.odtk_ray(*arguments, variables=variables)
        local = tree.work / "object-storage"
        for name in ("results", "state"):
            files.get(f"{_BUCKET}/{name}", str(local / name), recursive=True)
    rows = {name: _file(tree, f"object-storage/results/{name}") for name in _ALL}
    rows["metrics.json"] = _metrics(tree, "object-storage/results")
    return rows | digests.of_run_folder(local / "state")


def engine_set(tree: Tree) -> Rows:
    """An engine set built and run on two simulated nodes; hashes of plans are left out, see
    `digests.of_sidecar`, and so is which node was given which shard.
    """
    folder = tree.work / "engine-set"
    tree.program("run_engine_set", folder, tree.work / "inputs/many")
    engines = folder / "engines"
    rows = {f"{p.name}": digests.of_sidecar(p) for p in sorted(engines.glob("*.plan.json"))}
    rows["engines.json"] = digests.of_engines(engines / "engines.json")
    rows["names"] = digests.of_value(sorted(path.name for path in engines.iterdir()))
    run = folder / "fleet.json.run"
    makers = {receipt["engine"] for receipt in digests.read_journal(run)}
    rows["makers"] = digests.of_value(sorted(makers))
    rows["plan.json"] = digests.of_plan(run / "plan.json", str(tree.work), left_out=("model",))
    rows["fleet.json"] = _file(tree, "engine-set/fleet.json")
    # The set's digest is its table's hash, and the table names the plans by their hashes.
    digest = _file(tree, "engine-set/engines/engines.json")[:12]
    return rows | {"info": _info(tree, "engine-set/engines", digest)}


def int8(tree: Tree) -> Rows:
    """A calibration, the quantised ONNX file, and the sidecar of a TensorRT plan built of it."""
    flags = ("--size", 128, 160, "--int8", "--calibration-images", "inputs/trees")
    calibration = ("--calibration-batches", 3, "--calibration-table", "int8/table.json")
    tree.odtk_ray("export", "trees.pth", "int8/int8.onnx", *flags, *calibration)
    tree.odtk_ray("export", "int8/int8.onnx", "int8/int8.plan", "--compute-capability", 8.9)
    rows = {name: _file(tree, f"int8/{name}") for name in ("table.json", "int8.onnx")}
    rows["int8.plan.json"] = digests.of_sidecar(tree.work / "int8/int8.plan.json")
    return rows | {"info": _info(tree, "int8/int8.plan")}


def _infer(
    tree: Tree,
    run: str,
    model: str,
    *flags: object,
    outputs: tuple[str, ...] = _SOME,
    code: int = 0,
) -> Rows:
    """Runs `odtk-ray infer` with outputs in the run's folder.

    Raises:
        TreeError: it failed, or found so little that its outputs say nothing.
    """
    tree.odtk_ray(*_arguments(run, model, flags, outputs), code=code)
    found = len(
        json.loads((tree.work / run / "out.json").read_text(encoding="utf-8"))["annotations"]
    )
    if found < _LEAST:
        raise TreeError(f"{run}: {found} detections in out.json, {_LEAST} or more are needed")
    return {name: _file(tree, f"{run}/{name}") for name in outputs}


def _arguments(
    run: str, model: str, flags: tuple[object, ...], outputs: tuple[str, ...]
) -> list[object]:
    written = [argument for name in outputs for argument in ("--output", f"{run}/{name}")]
    return ["infer", model, *written, *flags, *_FIXED]


def _metrics(tree: Tree, folder: str) -> str:
    """The hash of the figures of a run, without its settings, options and pace."""
    text = (tree.work / _side_file(tree, folder, "metrics.json")).read_text(encoding="utf-8")
    about = ("settings", "options", "pace")
    return digests.of_value({k: v for k, v in json.loads(text).items() if k not in about})


def _side_file(tree: Tree, folder: str, name: str) -> str:
    """The path of a side file: with the stem of the first output, or, earlier, without."""
    path = f"{folder}/out.{name}"
    return path if (tree.work / path).exists() else f"{folder}/{name}"


def _file(tree: Tree, name: str) -> str:
    return digests.of_bytes((tree.work / name).read_bytes())


def _run_folder(tree: Tree, name: str) -> Rows:
    return digests.of_run_folder(tree.work / name, str(tree.work))


def _info(tree: Tree, model: str, digest: str = "") -> str:
    """Of what `odtk-ray info` says; where it shows a digest that varies, without that one."""
    text = tree.odtk_ray("info", model)
    if digest not in text:
        raise TreeError(f"info of {model} does not show the digest {digest}")
    return digests.of_bytes((text.replace(digest, "DIGEST") if digest else text).encode())


@contextlib.contextmanager
def _s3_server() -> Iterator[tuple[dict[str, str], Any]]:
    """moto's S3 server: the variables with which processes find it, and its file system."""
    import s3fs
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    url = f"http://127.0.0.1:{port}"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        yield (
            {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=url),
        )
    finally:
        server.stop()


RUNS: dict[str, Callable[[Tree], Rows]] = {
    "checkpoint": checkpoint,
    "onnx": onnx,
    "rotated": rotated,
    "tiles": tiles,
    "resume": resume,
    "odd-files": odd_files,
    "object-storage": object_storage,
    "engine-set": engine_set,
    "int8": int8,
}


def prepare(tree: Tree) -> None:
    """Makes the inputs, and copies the models: commands are given relative paths alone."""
    inputs = tree.work / "inputs"
    inputs.mkdir()
    make_inputs.make_all(inputs)
    for name in RUNS:
        (tree.work / name).mkdir()
    for name in ("trees.pth", "shapes.pth"):
        shutil.copy(tree.asset(name), tree.work / name)
