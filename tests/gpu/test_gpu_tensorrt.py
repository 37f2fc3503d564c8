"""Plans built and run by the TensorRT of this machine, against PyTorch on the same input."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner
from gpu_helpers import POST, jpeg, matched, raw

from odtk_ray.cli.program import cli
from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.images.decode_image import load_picture
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.settings import Preprocessing

pytestmark = pytest.mark.gpu

SIZE = (160, 224)
FITTED = Preprocessing(fit=SIZE, resize=SIZE[0], max_size=SIZE[1], stride=32)


@pytest.fixture(scope="module")
def files():
    return [jpeg(seed, *((320, 240), (200, 300))[seed % 2]) for seed in range(12)]


# In half precision a tiny rotated model's boxes turn where their (sin, cos) is short.
@pytest.fixture(
    scope="module",
    params=[("checkpoint", "fp32"), ("checkpoint", "fp16"), ("ranked_rotated", "fp32")],
    ids="-".join,
)
def built(request, _gpu, tmp_path_factory):
    """A checkpoint, its plan, and what the export said."""
    pytest.importorskip("tensorrt")
    kind, precision = request.param
    checkpoint = request.getfixturevalue(kind)
    path = tmp_path_factory.mktemp("plans") / f"{precision}.plan"
    flags = ["--full-precision"] * (precision == "fp32")
    arguments = ["export", str(checkpoint), str(path), "--size", *map(str, SIZE), *flags,
                 "--dynamic-batch-opts", "1", "4", "4"]  # fmt: skip
    outcome = CliRunner().invoke(cli, arguments)
    assert outcome.exit_code == 0, outcome.output
    return checkpoint, str(path), outcome.stdout


@pytest.fixture
def plan(built):
    return built[1]


@pytest.fixture
def engine(plan):
    from odtk_ray.engines.tensorrt import TensorRTEngine

    made = TensorRTEngine(plan, FITTED, POST, launch_batch=4, threads=2, jpeg=())
    yield made
    made.close()


def test_it_finds_what_pytorch_finds(engine, built, files):
    least = 0.999 if "fp32" in built[1] else 0.99
    cpu = PyTorchEngine(load_checkpoint(built[0]), POST, launch_batch=1)
    total = partners = 0
    for start in range(0, 12, 4):
        some = files[start : start + 4]
        found = [o.found for o in engine.launch([engine.read(f) for f in some], SIZE)()]
        pictures = [load_picture(data, FITTED).pixels for data in some]
        expected = [cpu.detect([picture], SIZE)[0] for picture in pictures]
        for one, two in zip(found, expected, strict=True):
            for here, there in ((one, two), (two, one)):
                count, hits = matched(here, there, least=0, iou=0.9, margin=5e-3)
                total, partners = total + count, partners + hits
    assert total > 200
    assert partners >= least * total


def test_the_export_was_checked_against_pytorch(built):
    """On the same network input, which is made up: noise, in which the tiny model finds plenty."""
    (checked,) = re.findall(r"^checked against PyTorch on 2 made-up.*", built[2], re.MULTILINE)
    scores, matched, counted = re.search(
        r"scores within (\S+), .*, ([\d,]+) of ([\d,]+) detections matched", checked
    ).groups()
    if "fp32" in built[1]:
        assert float(scores) < 1e-2  # logits of the tiny model reach hundreds
        assert int(matched) >= 0.97 * int(counted) > 20


def test_two_launches_are_in_flight(engine, files):
    sources = [engine.read(data) for data in files[:8]]
    first = engine.launch(sources[:4], SIZE)
    second = engine.launch(sources[4:], SIZE)
    both = [[raw(o) for o in wait()] for wait in (second, first)]
    alone = [[raw(o) for o in engine.launch(s, SIZE)()] for s in (sources[4:], sources[:4])]
    assert both == alone


def test_a_short_batch_gives_the_rows_of_its_pictures_only(engine, files):
    full = [raw(o) for o in engine.launch([engine.read(f) for f in files[:4]], SIZE)()]
    short = [raw(o) for o in engine.launch([engine.read(f) for f in files[:2]], SIZE)()]
    assert short == full[:2]


def test_the_graph_computes_what_its_calls_do(engine, files):
    sources = [engine.read(data) for data in files[:4]]
    assert engine._step._graph is not None
    by_graph = [raw(o) for o in engine.launch(sources, SIZE)()]
    engine._step._graph = None
    assert [raw(o) for o in engine.launch(sources, SIZE)()] == by_graph
