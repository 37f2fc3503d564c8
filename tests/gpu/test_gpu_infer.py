"""`odtk-ray infer` on a GPU: decoders, failures, the probe, and many real pictures."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
from gpu_helpers import jpeg, matched
from PIL import Image
from synthetic import Quiet, picture

from odtk_ray.config import InferConfig
from odtk_ray.records import Detections
from odtk_ray.run.pipeline import infer

pytestmark = [pytest.mark.gpu, pytest.mark.cluster]

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "odtk_ray" / "assets" / "trees.pth"


@pytest.fixture(scope="module")
def ray_gpu(_gpu):
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def run(tmp_path, model, images, name="out", **options):
    """What a run says of itself, and its detections."""
    settings = {"resize": 160, "max_size": 256, "threads_per_worker": 4} | options
    folder = tmp_path / name
    folder.mkdir()
    output = folder / "out.parquet"
    quiet = Quiet()
    summary = infer(InferConfig(str(model), str(images), output=(str(output),), **settings), quiet)
    return summary, pq.read_table(output), quiet


@pytest.fixture
def mixed(tmp_path):
    """Good JPEGs of two sizes, a PNG, a CMYK file, a torn JPEG and a file of junk."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for seed in range(20):
        (folder / f"{seed:02d}.jpg").write_bytes(jpeg(seed, *((640, 480), (300, 500))[seed % 2]))
    picture(30, 640, 480).save(folder / "30.png")
    (folder / "31.jpg").write_bytes(jpeg(31, 640, 480, mode="CMYK"))
    (folder / "32.jpg").write_bytes(jpeg(32, 640, 480)[:-3000])
    (folder / "33.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture \xff\xd9")
    return folder


def test_bad_files_fail_alike_with_both_decoders(ray_gpu, codec, tmp_path, checkpoint, mixed):
    summaries = {}
    for decoder in ("gpu", "cpu"):
        summary, table, quiet = run(tmp_path, checkpoint, mixed, decoder, decoder=decoder)
        assert (summary.images, summary.failed) == (24, 2)
        assert len(table) > 100
        summaries[decoder] = quiet.notes
    assert any("the CPU decoded 2 images" in note for note in summaries["gpu"])
    assert not any("the CPU decoded" in note for note in summaries["cpu"])
    gpu, cpu = (
        (tmp_path / name / "out.failures.jsonl").read_text(encoding="utf-8")
        for name in ("gpu", "cpu")
    )
    assert "truncated" in gpu
    assert gpu == cpu


def test_two_runs_have_the_same_bytes(ray_gpu, tmp_path, checkpoint, mixed):
    _, one, _ = run(tmp_path, checkpoint, mixed, "one", batch=4)
    _, two, _ = run(tmp_path, checkpoint, mixed, "two", batch=4)
    assert one.equals(two)


def test_a_batch_that_does_not_fit_is_halved_before_the_first_shard(
    ray_gpu, tmp_path, checkpoint, mixed
):
    """With 12% of the memory left, of which 10% stay free, 64 large pictures are too many."""
    import torch

    free, total = torch.cuda.mem_get_info()
    taken = torch.empty(int(free - 0.12 * total), dtype=torch.uint8, device="cuda")
    summary, table, quiet = run(
        tmp_path, checkpoint, mixed, "big", batch=256, keep_run=True, resize=None, max_size=None
    )
    del taken
    torch.cuda.empty_cache()
    assert summary.failed == 2
    plan = json.loads(
        (tmp_path / "big" / "out.parquet.run" / "plan.json").read_text(encoding="utf-8")
    )
    assert plan["settings"]["launch_batch"] < 256
    assert sum("do not fit in GPU memory" in warning for warning in quiet.warnings) == 1
    assert len(table) > 100


def test_one_process_writes_the_bytes_of_one_worker(tmp_path, checkpoint, mixed):
    written = {}
    for name, flags in {"local": ["--local"], "ray": ["--workers", "1"]}.items():
        (tmp_path / name).mkdir()
        output = tmp_path / name / "out.json"
        flags += ["--batch", "4", "--threads-per-worker", "4"]
        done = command(checkpoint, mixed, output, (), *flags)
        assert done.returncode == 3, done.stderr
        failures = output.with_name("out.failures.jsonl")
        written[name] = output.read_bytes(), failures.read_bytes()
    assert len(json.loads(written["ray"][0])["annotations"]) > 100
    assert written["local"] == written["ray"]


def command(model, images, output, path=(), *options):
    """`odtk-ray infer` in a process of its own, whose modules come from `path` first."""
    paths = os.pathsep.join([*map(str, path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    line = [sys.executable, "-m", "odtk_ray", "infer", str(model), "--images", str(images)]
    line += ["--output", str(output), "--resize", "160", "--max-size", "256", *options]
    environment = os.environ | {"PYTHONPATH": paths}
    return subprocess.run(
        line, capture_output=True, text=True, env=environment, timeout=600, check=False
    )


def test_without_pycuda_torch_computes_and_says_so_once(tmp_path, spread, mixed):
    """PyCUDA cannot be imported in this run: a whole run of the same command, the same boxes."""
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "pycuda.py").write_text("raise ImportError('hidden')", encoding="utf-8")
    found = {}
    for name, path in (("torch", [shadow]), ("kernels", [])):
        output = tmp_path / f"{name}.parquet"
        done = command(spread, mixed, output, path, "--full-precision", "--decoder", "cpu")
        assert done.returncode == 3, done.stderr
        assert done.stderr.count("PyTorch computes instead") == (name == "torch")
        found[name] = by_image(pq.read_table(output))
    assert agreement(found["torch"], found["kernels"], least=0, iou=0.95, score=1e-3) >= 0.98


def test_a_good_run_prints_nothing_of_the_libraries(codec, tmp_path, checkpoint):
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(8):
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed, 640, 480))
    done = command(checkpoint, folder, tmp_path / "out.parquet", (), "--decoder", "gpu")
    assert done.returncode == 0, done.stderr
    said = (done.stdout + done.stderr).lower()
    assert "8 images" in said
    assert not any(word in said for word in ("nvjpeg", "nvtiff", "[error]", "traceback"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """JPEG tiles of the demonstration's photographs in 8 flips and rotations."""
    demo = ROOT / "demo_output"
    if not (demo / "trees.json").exists():
        pytest.skip("needs the photographs of `make demo`")
    from precision_set import tiles
    from run import STEMS
    from training.photographs import read_photographs
    from training.tiles import turn

    folder = tmp_path_factory.mktemp("tiles")
    names = [f"{stem}.png" for stem in STEMS]
    all_photographs = read_photographs(demo / "trees.json", demo / "photos", names)
    for number, tile in enumerate(tiles(all_photographs, np.random.default_rng(0))):
        for turned in range(8):
            pixels, _ = turn(np.asarray(tile.image), tile.boxes, turned)
            data = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(pixels)).save(data, "JPEG", quality=95)
            (folder / f"{number:03d}_{turned}.jpg").write_bytes(data.getvalue())
    return folder


def by_image(table):
    """Detections of each image of a table that `infer` wrote."""
    rows: dict[str, list[dict]] = {}
    for row in table.to_pylist():
        rows.setdefault(str(row["image_id"]), []).append(row)
    found = {}
    for image, entries in rows.items():
        boxes = np.array(
            [[e[c] for c in ("x", "y", "width", "height")] for e in entries], np.float32
        )
        boxes[:, 2:] += boxes[:, :2] - 1
        scores = np.array([e["score"] for e in entries], np.float32)
        classes = np.array([e["category_id"] for e in entries], np.int32)
        found[image] = Detections(scores, boxes, classes)
    return found


def agreement(ones, others, *, least, iou, score=np.inf):
    """Share of the detections of either that have a partner in the other; prints the numbers."""
    empty = Detections(np.empty(0, np.float32), np.empty((0, 4), np.float32), np.empty(0, np.int32))
    margin = 0.0 if score == np.inf else score
    total = partners = 0
    for here, there in ((ones, others), (others, ones)):
        for image, detections in here.items():
            count, hits = matched(
                detections,
                there.get(image, empty),
                least=least,
                iou=iou,
                score=score,
                margin=margin,
            )
            total, partners = total + count, partners + hits
    print(f"{partners:,} of {total:,} detections have a partner")
    assert total > 100
    return partners / total


def test_decoders_agree_on_real_pictures(ray_gpu, codec, tmp_path, photographs):
    """99.8% of the detections of either, from score 0.3 on: same class, IoU 0.95."""
    found = {
        decoder: by_image(
            run(tmp_path, MODEL, photographs, decoder, decoder=decoder, resize=None, max_size=None)[
                1
            ]
        )
        for decoder in ("gpu", "cpu")
    }
    assert sum((d.scores >= 0.3).sum() for d in found["gpu"].values()) >= 2500
    assert agreement(found["gpu"], found["cpu"], least=0.3, iou=0.95) >= 0.998


def test_half_precision_finds_what_full_precision_finds(ray_gpu, tmp_path, photographs):
    """99% of the detections of either, from score 0.3 on: same class, IoU 0.9."""
    half, full = (
        by_image(
            run(
                tmp_path,
                MODEL,
                photographs,
                str(exact),
                decoder="cpu",
                full_precision=exact,
                resize=None,
                max_size=None,
            )[1]
        )
        for exact in (False, True)
    )
    assert agreement(half, full, least=0.3, iou=0.9) >= 0.99
