"""`odtk-ray bench`: figures of real launches on this machine; how large they are is not tested."""

from __future__ import annotations

import json

import numpy as np
import pytest
from blocked_packages import Blocking
from click.testing import CliRunner

import odtk_ray
from odtk_ray.bench.measure import percentile
from odtk_ray.bench.memory import forget_peak, peak_bytes
from odtk_ray.cli.program import cli


@pytest.fixture(scope="module")
def detecting(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("detecting") / "detecting.onnx"
    odtk_ray.export(str(checkpoint), str(path), size=(64, 96), with_postprocess=True)
    return path


def bench(*arguments):
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)])


def test_models_and_batches_have_a_row_each(checkpoint, graph, detecting, tmp_path):
    output = tmp_path / "bench.json"
    models = [checkpoint, graph, detecting]
    done = bench(*models, "--batch", "1", "2", "--launches", "2", "--output", output)
    assert done.exit_code == 0, done.output
    written = json.loads(output.read_text(encoding="utf-8"))
    assert written["format"] == 1
    assert written["matrix_rate"] > 0
    rows = written["rows"]
    expected = [(str(model), batch) for model in models for batch in (1, 2)]
    assert [(row["model"]["path"], row["batch"]) for row in rows] == expected
    assert {tuple(row["model"]["size"]) for row in rows} == {(64, 96)}  # that of the first export
    assert len({row["model"]["flops"] for row in rows}) == 1
    for row in rows:
        figures = row["figures"]
        assert figures["batch"] == row["batch"]
        assert 0 < figures["launch_ms"] <= figures["launch_p99_ms"]
        assert min(figures[n] for n in ("read_ms", "decode_ms", "images_per_second")) > 0
        assert figures["memory"] > 1 << 20
        divided = row["model"]["path"] != str(detecting)
        assert (figures["network_ms"] is not None) is divided
        seconds = (figures["network_ms"] or figures["launch_ms"]) / 1e3
        rate = row["model"]["flops"] * row["batch"] / seconds
        assert row["share"] == pytest.approx(rate / written["matrix_rate"])
    lines = done.stdout.splitlines()
    assert lines[0].split() == (
        "model size batch read decode network post p50 p99 img/s GiB share".split()
    )
    assert sum("64x96" in line for line in lines) == 6
    assert lines[-1] == f"wrote {output}"


def test_a_model_that_cannot_run_here_leaves_the_other_rows(graph, tmp_path):
    """A plan is opened by its sidecar, and needs a GPU to run."""
    pytest.importorskip("tensorrt_rtx")
    from odtk_ray.engines.local_gpus import list_gpus

    if list_gpus():
        pytest.skip("the plan might run here")
    plan = tmp_path / "model.plan"
    odtk_ray.export(str(graph), str(plan), compute_capability=["8.9"])
    done = bench(plan, graph, "--launches", "2")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].startswith("model.onnx fp32")
    assert f"{plan}, batch 1: model.plan needs a GPU" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("none.pth", "none.pth: No such file or directory"),
        ("{graph} --size 128", "was exported for 64x96: --size says another size"),
        ("{checkpoint} --size 100", "--size"),
        ("{graph} --precision fp16", "computes in FP32 here, not in FP16: CPUs compute"),
        ("{folder}", "is a folder: bench measures files"),
        ("{graph} --output {graph}", "--output"),
        ("{graph} --launches 1", "--launches 1 is out of range"),
        ("{graph} --batch 0", "--batch 0 is out of range"),
        ("", "MODEL"),
    ],
)
def test_wrong_arguments_are_refused_at_once(checkpoint, graph, arguments, words):
    before = graph.read_bytes()
    filled = arguments.format(graph=graph, checkpoint=checkpoint, folder=graph.parent)
    done = bench(*filled.split())
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert graph.read_bytes() == before


def test_it_needs_neither_torch_nor_ray(detecting, tmp_path):
    done = Blocking(tmp_path).odtk_ray("bench", detecting, "--launches", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[-1] == "-"  # of what a matrix product would reach


def test_percentiles_are_values_by_nearest_rank():
    assert [percentile([3.0], p) for p in (1, 50, 99)] == [3.0] * 3
    values = [float(v) for v in range(200, 0, -1)]
    assert percentile(values, 99) == 198.0
    assert percentile(values, 50) == 100.0
    assert percentile(values[:30], 99) == max(values[:30])


def test_a_peak_is_what_was_in_memory_since():
    forget_peak()
    before = peak_bytes()
    block = np.ones(200 << 20, np.uint8)
    assert peak_bytes() > before + (180 << 20)
    del block
    assert peak_bytes() > before + (180 << 20)
