"""What a run says that it does, from its beginning to its end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from engines_for_tests import PixelEngine
from synthetic import Quiet, picture

from odtk_ray.config import InferConfig
from odtk_ray.run.pipeline import infer


@pytest.fixture
def config(runs, checkpoint, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = tmp_path / "images"
    folder.mkdir()
    picture(1, 64, 48).save(folder / "1.png")
    return InferConfig(
        str(checkpoint), images=str(folder), output=(str(tmp_path / "out.json"),),
        threads_per_worker=1, resize=64, max_size=128,
    )  # fmt: skip


def stages(config):
    reporter = Quiet()
    infer(config, reporter, PixelEngine)
    return reporter.stages


def test_of_a_run_over_a_folder(config):
    assert stages(config) == [
        "listing the images",
        "starting Ray",
        "reading the model",
        "reading the sizes of the images",
        "writing the plan",
        "loading the model on 1 CPU worker",
        "writing the outputs",
    ]


def test_of_a_run_that_is_scored_and_drawn(config, tmp_path):
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({
        "images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, 30, 30],
                         "area": 900, "iscrowd": 0}],
        "categories": [{"id": i, "name": f"class {i}"} for i in (1, 2, 3)],
    }), encoding="utf-8")  # fmt: skip
    seen = stages(replace(config, annotations=str(truth), draw=str(tmp_path / "drawn")))
    assert seen[0] == "reading the annotations"
    assert seen[-3:] == ["writing the outputs", "scoring the detections", "drawing"]


def test_of_a_resumed_run(config):
    infer(replace(config, keep_run=True), Quiet(), PixelEngine)
    assert stages(replace(config, resume=True)) == [
        "starting Ray",
        "reading the model",
        "writing the outputs",
    ]


def test_of_a_run_on_a_cluster(config, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert "connecting to Ray at head:6379" in stages(config)
