"""Each benchmark runs at a tiny size and prints its table; how long it takes is not looked at."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from effort import long_case
from PIL import Image

from odtk_ray.moments import Moment

BENCH = Path(__file__).parents[2] / "jobs" / "bench"


def rows(script: str, *options: str) -> tuple[dict[str, list[str]], str]:
    """The cells of the printed table's lines by their first cell, and the whole text."""
    command = [sys.executable, str(BENCH / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {line[0]: line[1:] for line in cells}, done.stdout


def test_lateness_tells_when_the_gpu_ran_dry(monkeypatch):
    """Of three launches one was too late for its pictures, one for its decoder."""
    monkeypatch.syspath_prepend(str(BENCH))
    from traced import lateness

    host = [(False, 1, 1.04, 1.042, True), (True, 2, 2.03, 2.031, True), (False, 3, 3.02, 3.1, 0)]
    text = lateness([1.0, 2.0, 3.0], host)
    assert "gaps at 10, 50, 90%: 1.20, 2.00, 2.80 ms" in text
    assert "loading 30.0 ms, at most 40.0, queueing 2.00 ms (medians)" in text
    assert text.endswith("of 3 launches the GPU ran dry before the loading of 1, during that of 1")


def test_startup():
    table, text = rows("startup.py", "--runs", "2", "--starts", "0")
    assert " cores " in text
    assert set(table) == {"command", "odtk-ray --help", "python -c pass"}
    assert all(cell.endswith(" s") for cell in table["odtk-ray --help"])


@pytest.mark.long
@pytest.mark.cluster
def test_the_time_line_of_a_start():
    options = ("--runs", "1", "--starts", "1", "--images", "2", "--", "--threads-per-worker", "1")
    table, text = rows("startup.py", *options)
    heads = ("odtk-ray infer --threads-per-worker 1", "the least")
    assert all(table[head] == ["s", "step", "all runs"] for head in heads)
    assert {moment.value for moment in Moment} <= set(table)
    first = float(table[Moment.DETECTED.value][0])
    least = float(table["the results of one forward are on the host"][0])
    assert least > 0
    assert 0 < float(table[Moment.BEGUN.value][0]) < float(table[Moment.RAY_UP.value][0]) < first
    assert f"on the host: {first:.2f} s; the least {least:.2f} s, " in text


@pytest.mark.long
@pytest.mark.cluster
def test_ray_data():
    _, text = rows("ray_data.py", "--images", "3", "--runs", "1", "--resize", "64")
    assert "batch 2, 1 runs" in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    ways = {line[1]: line for line in lines if line and line[0] == "3"}
    assert set(ways) >= {"Ray Data", "odtk-ray infer"}
    assert ways["Ray Data"][-1] == "1.00"
    assert all(line[2].endswith(" s") for line in ways.values())


def test_a_way_that_loses_a_picture_is_no_figure(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import ray_data

    output = tmp_path / "o.parquet"
    code = f"""import pyarrow as pa, pyarrow.parquet as pq
pq.write_table(pa.table({{'path': ['a', 'b', 'b']}}), {str(output)!r})"""
    with pytest.raises(RuntimeError, match="2 of 3 images are in the output"):
        ray_data.time_command([sys.executable, "-c", code], output, 3)
    assert ray_data.time_command([sys.executable, "-c", code], output, 2) > 0
    assert not output.exists()  # the next run's must be its own


@pytest.mark.long
def test_memory():
    table, text = rows("memory.py", "--images", "70", "--megabytes", "1", "--detections", "3")
    assert "70 images, annotations 1 MB" in text
    assert list(table)[1:] == ["plan", "make up shards", "merge", "evaluate"]
    assert all(0 < int(row[2].split()[0]) < 4096 for name, row in table.items() if name != "stage")


def test_json_stream():
    table, text = rows("json_stream.py", "--megabytes", "1", "--runs", "2")
    assert re.search(r"1 MB, 250 images, 1,750 annotations, 2 runs", text)
    assert list(table)[1:] == ["scan, all values", "read_coco", "read_truth", "read_truth, rotated",
                               "examine"]  # fmt: skip


@pytest.mark.cluster
@pytest.mark.parametrize("engine", ["stored", long_case("model")])
def test_overhead(engine):
    options = ("--images", "8", "--runs", "1", "--resize", "96", "--threads", "1")
    table, text = rows("overhead.py", "--engine", engine, *options)
    assert f"engine {engine}, 1 runs, 640x480 JPEG" in text
    assert "Above the plain loop: " in text
    assert table["plain loop"][0] == table["pipeline"][0] == "8"
    assert len(table["pipeline"][-1].split(" + ")) == 4  # plan, start, detect, merge


@pytest.mark.long
@pytest.mark.cluster
def test_scaling():
    """100 images, and as many shards as there are pairs of them."""
    options = ("--images", "100", "--shard", "2", "--workers", "9", "--actors", "2")
    table, text = rows("scaling.py", *options, "--seconds", "0.1")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    names = ("plan", "dispatch", "merge", "merge to Parquet")
    stages = [line[:2] for line in lines if line and line[0] in names]
    assert stages == [[name, n] for n in ("1", "100") for name in names]
    cases = [line[:2] for line in lines if line and line[0] in ("2", "9")]
    assert cases == [["2", "0 s"], ["9", "0 s"], ["9", "0.1 s"], ["2", "a file's time"]]
    assert int(table["9"][2]) > 0  # shards a second
    assert table["9"][3] == "90"  # at best


@pytest.mark.long
@pytest.mark.cluster
def test_tiles():
    kinds = ("TIFF, tiles of 256, deflate", "JPEG and PNG")
    options = ("--side", "300", "--tile", "128", "--resize", "64", "--threads", "1")
    table, _ = rows("tiles.py", *options, *(f"--kind={kind}" for kind in kinds))
    assert list(table)[1:] == list(kinds)
    assert [row[0] for row in table.values()][1:] == ["300x300", "200x200"]
    assert [row[3] for row in table.values()][1:] == ["0", "0"]  # failed
    assert all(100 < int(table[kind][2].split()[0]) < 4096 for kind in kinds)


def test_every_kind_of_tiles_is_a_whole_picture(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import tiles

    found = {}
    for number, kind in enumerate(tiles.KINDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        tiles.write_pictures(folder, kind, 300)
        found |= {(kind, path.suffix): Image.open(path) for path in sorted(folder.iterdir())}
    jpeg = found.pop(("JPEG and PNG", ".jpg"))
    jpeg.load()
    whole = tiles.rows_of(tiles.make_cell(), 0, 0, 300, 300)
    png = found.pop(("JPEG and PNG", ".png"))
    assert jpeg.size == png.size == (200, 200)
    assert np.array_equal(png, whole[:200, :200])
    assert len(found) == len(tiles.KINDS) - 1
    assert all(np.array_equal(picture, whole) for picture in found.values())


@pytest.mark.long
@pytest.mark.cluster
def test_resume():
    options = ("--images", "70", "--megabytes", "1", "--detections", "3", "--runs", "1")
    table, text = rows("resume.py", *options)
    assert re.search(r"70 images, [1-9] shard files", text)
    assert table["start to merge"][-1] == "20 s"


def test_evaluation():
    options = ("--images", "9", "--boxes", "60", "--detections", "200", "--runs", "1", "--report")
    table, text = rows("evaluation.py", *options)
    assert "9 images, 60 boxes, 200 detections, 1 runs" in text
    ways = ["odtk-ray evaluate", "faster-coco-eval", "pycocotools", "odtk-ray evaluate --report"]
    assert list(table)[1:] == ways
    ours, peer, reference, reported = (table[name] for name in ways)
    assert ours[4] == reference[4] == reported[4]
    assert peer[4] == reference[4] or "No module named" in peer[0]
