"""Shared by all tests: pictures, tiny checkpoints, one Ray cluster, what is run when."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import socket
import uuid
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import settings
from in_process import runs_anywhere
from PIL import Image
from sessions import cluster_head, simulated_cluster, start_ray
from synthetic import Quiet, picture, tiny_model

from odtk_ray.cli.program import cli
from odtk_ray.engines.local_gpus import list_gpus

# Ray asks for this before it is imported; usage reports would leave the machine.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# nohup ignores SIGHUP, and a shell SIGINT of what it starts in the background. Children would
# inherit it, and tests that send them these signals would wait in vain.
for _number, _handler in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(scope="session")
def s3_port():
    """A free port for the S3 server; the environment of every process says where it will be."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return port


@pytest.fixture
def s3(s3_port):
    """moto's S3 server over HTTP, with one empty bucket; `stop` and `start` keep what it holds."""
    import fsspec
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=s3_port, verbose=False)
    server.start()
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    fsspec.filesystem("s3").mkdir(bucket)
    yield SimpleNamespace(url=f"s3://{bucket}", server=server)
    server.stop()


@pytest.fixture(scope="session")
def head(s3_port):
    """The head of the process's one cluster."""
    with cluster_head() as made:
        yield made


@pytest.fixture
def ray_session(head):
    """Ray, without GPUs."""
    start_ray(head)


@pytest.fixture
def runs(request):
    """For runs whose point is not Ray."""
    with runs_anywhere(request):
        yield


@pytest.fixture
def cluster(head):
    """Starts simulated nodes with logical GPUs; the driver's Ray is theirs meanwhile."""
    with simulated_cluster(head) as made:
        yield made


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """26 pictures of four sizes, JPEG and PNG."""
    folder = tmp_path_factory.mktemp("photos")
    sizes = [(160, 120), (120, 160), (96, 96), (200, 100)]
    for seed in range(26):
        suffix = "png" if seed % 5 == 0 else "jpg"
        picture(seed, *sizes[seed % 4]).save(folder / f"p{seed:03d}.{suffix}")
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A ResNet18FPN of 3 classes and 8 channels with seeded weights that detect plenty."""
    return tiny_model(tmp_path_factory.mktemp("checkpoint") / "tiny.pth")


@pytest.fixture(scope="session")
def graph(checkpoint, tmp_path_factory) -> Path:
    """That model as an ONNX file of 64x96 pixels, which plans are built from."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    arguments = ["export", str(checkpoint), str(path), "--size", "64", "96"]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    return path


@pytest.fixture(scope="session")
def rotated_checkpoint(tmp_path_factory) -> Path:
    """The same with 27 anchors a cell and rotated boxes."""
    folder = tmp_path_factory.mktemp("rotated_checkpoint")
    return tiny_model(folder / "turned.pth", angles=(-math.pi / 6, 0.0, math.pi / 6))


def with_ranks(source: Path, path: Path, factor: float) -> Path:
    """A tiny model's copy whose scores are not all 1, but in an order that rounding keeps."""
    from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint

    loaded = load_checkpoint(source)
    model = loaded.build()
    model.get_parameter("cls_head.8.weight").mul_(factor)
    tables = {name: getattr(loaded, name) for name in ("ratios", "scales", "angles")}
    save_checkpoint(path, model, **tables)
    return path


@pytest.fixture(scope="session")
def ranked(checkpoint, tmp_path_factory) -> Path:
    return with_ranks(checkpoint, tmp_path_factory.mktemp("ranked") / "ranked.pth", 0.003)


@pytest.fixture(scope="session")
def ranked_rotated(rotated_checkpoint, tmp_path_factory) -> Path:
    return with_ranks(rotated_checkpoint, tmp_path_factory.mktemp("rotated") / "ranked.pth", 0.01)


@pytest.fixture(scope="session")
def annotations(photos, tmp_path_factory) -> Path:
    """Seeded boxes on the pictures, with categories that start at 5 and are not sorted."""
    rng = np.random.default_rng(3)
    images, boxes = [], []
    for i, path in enumerate(sorted(photos.iterdir())):
        width, height = Image.open(path).size
        images.append({"id": 1000 - i, "file_name": path.name, "width": width, "height": height})
        for _ in range(rng.integers(0, 4)):
            x, y = rng.uniform(0, width / 2), rng.uniform(0, height / 2)
            w, h = rng.uniform(10, width / 2), rng.uniform(10, height / 2)
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": 1000 - i,
                    "category_id": int(rng.choice([9, 5, 7])),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(rng.random() < 0.1),
                }
            )
    categories = [{"id": i, "name": n} for i, n in ((9, "nine"), (5, "five"), (7, "seven"))]
    path = tmp_path_factory.mktemp("annotations") / "boxes.json"
    path.write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": categories}),
        encoding="utf-8",
    )
    return path


@pytest.fixture
def synced(monkeypatch) -> list[tuple[int, int]]:
    """Inode and size of everything that is written to the disk itself, in order."""
    fsync, done = os.fsync, []

    def noted(descriptor):
        fsync(descriptor)
        status = os.fstat(descriptor)
        done.append((status.st_ino, status.st_size))

    monkeypatch.setattr(os, "fsync", noted)
    return done


@pytest.fixture
def quiet() -> Quiet:
    return Quiet()


@functools.cache
def there_is_a_gpu() -> bool:
    return bool(list_gpus())


def pytest_addoption(parser):
    parser.addoption(
        "--all", action="store_true", help="the long tests too, every run on Ray, more examples"
    )
    parser.addoption("--cpp", action="store_true", help="tests/cpp too, which need compilers")


def pytest_configure(config):
    # Ctrl-C is ignored by what a script starts in the background, and by all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("quick", max_examples=25, deadline=None)
    settings.register_profile("all", max_examples=100, deadline=None)
    settings.load_profile("all" if config.getoption("--all") else "quick")


def pytest_collection_modifyitems(items):
    """Files with many tests on Ray first: two processes end together then."""
    on_ray = Counter(item.path for item in items if item.get_closest_marker("cluster"))
    items.sort(key=lambda item: -on_ray[item.path])


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not there_is_a_gpu():
        pytest.skip("needs an NVIDIA GPU")
    if item.get_closest_marker("long") and not item.config.getoption("--all"):
        pytest.skip("long: make test-all")


def pytest_terminal_summary(terminalreporter):
    """Say how many tests were skipped for which reason: a test that cannot run here is no pass."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count:4}: {reason}")
