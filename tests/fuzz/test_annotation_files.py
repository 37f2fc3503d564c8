"""Annotation files that somebody edited or cut off: whole runs, and what `doctor` says."""

from __future__ import annotations

import json

import pytest
from effort import examples
from engines_for_tests import PixelEngine
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from in_process import without_ray
from mutations import edited_text, one_sentence
from synthetic import Quiet, picture

from odtk_ray.checks.annotations import examine
from odtk_ray.config import InferConfig
from odtk_ray.pictures.annotation_sheet import write_samples
from odtk_ray.run.pipeline import infer

DOCUMENT = {
    "info": {"year": 2026},
    "images": [
        {"id": 0, "file_name": "0.png", "width": 64, "height": 48},
        {"id": "b", "file_name": "1.png", "width": 48, "height": 64},
    ],
    "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 5, "name": "c"}],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 30.5, 20], "area": 610,
         "iscrowd": 0, "segmentation": [[1, 2, 30, 2, 30, 20]]},
        {"id": 2, "image_id": "b", "category_id": 5, "bbox": [1, 2, 3, 4], "area": 12,
         "iscrowd": 1, "segmentation": {"size": [64, 48], "counts": "0"}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for seed in range(2):
        picture(seed, 64, 48).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def without_cluster():
    """With --all too: a hundred runs of two images show nothing of Ray."""
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        yield


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_runs(without_cluster, checkpoint, images, tmp_path, data):
    path, output = tmp_path / "a.json", tmp_path / "out.json"
    path.write_bytes(edited_text(data.draw, json.dumps(DOCUMENT).encode()))
    config = InferConfig(
        str(checkpoint), images=str(images), annotations=str(path), output=(str(output),),
        threads_per_worker=1, batch=2, resize=64, max_size=64, resume=True, allow_missing=True,
    )  # fmt: skip
    for made in (output, tmp_path / "out.metrics.json"):
        made.unlink(missing_ok=True)
    with one_sentence():
        infer(config, Quiet(), PixelEngine)
        json.loads(output.read_text(encoding="utf-8"))


@pytest.mark.parametrize("rotated", [False, True])
@examples(300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_doctor(images, tmp_path, rotated, data):
    path = tmp_path / "a.json"
    path.write_bytes(edited_text(data.draw, json.dumps(DOCUMENT).encode()))
    with one_sentence():
        report = examine(str(path), str(images), rotated=rotated)
        assert all(str(finding) for finding in report.findings)
        if report.samples:
            write_samples(report, str(images), str(tmp_path / "doctor.png"))
