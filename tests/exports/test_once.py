"""An export loads its checkpoint, traces its network and lists its images once, whatever it does.

Counted in the process of the export; workers of a calibration load for themselves.
"""

from __future__ import annotations

import pickle
import shutil
from collections import Counter

import pytest
from effort import long_case
from standins_for_tests import standing_in
from synthetic import Quiet
from torch import fx

from odtk_ray import storage
from odtk_ray.config import ExportConfig
from odtk_ray.exports.image_lists import ImageLists
from odtk_ray.exports.onnx.export_onnx import export
from odtk_ray.exports.tensorrt.export_plan import export_plan
from odtk_ray.exports.tensorrt.plan_source import plan_source
from odtk_ray.model import checkpoint as checkpoints
from odtk_ray.storage import object_stores

SIZE = (64, 96)
ONCE = {"local_copy": 1, "read_pth": 1, "trace": 1, "list_files": 1}


@pytest.fixture
def counts(monkeypatch):
    """Calls of what does the work, whoever asks for it."""
    seen: Counter[str] = Counter()

    def count(place, name):
        real = getattr(place, name)

        def call(*args, **options):
            seen[name] += 1
            return real(*args, **options)

        monkeypatch.setattr(place, name, call)

    count(storage, "local_copy")  # fetches a model that lies behind a URI
    count(checkpoints, "read_pth")  # in `load_checkpoint`
    count(fx.Tracer, "trace")
    count(storage, "list_files")  # in `find_images`
    return seen


def settings(model, output, photos, **options):
    """INT8 with images for the calibration, the check and the hints."""
    return ExportConfig(
        str(model), str(output), size=SIZE, int8=True, calibration_images=str(photos),
        calibration_batches=2, calibration_method="max", **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def int8_graph(checkpoint, photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "m.onnx"
    export(settings(checkpoint, path, photos), Quiet())
    return path


def test_to_onnx(checkpoint, photos, tmp_path, int8_graph, counts):
    done = export(settings(checkpoint, tmp_path / "m.onnx", photos), Quiet())
    assert done.check_result.comparison.reference == "PyTorch"
    assert counts == ONCE
    assert (tmp_path / "m.onnx").read_bytes() == int8_graph.read_bytes()


@pytest.mark.parametrize("table", [long_case(False), True])
def test_to_a_plan(rtx, checkpoint, photos, tmp_path, int8_graph, counts, table):
    """With a table, too: one that is made, and the same export again, which reads it."""
    config = settings(
        checkpoint, tmp_path / "m.plan", photos, compute_capability=("8.9",),
        calibration_table=str(tmp_path / "table.json") if table else None,
    )  # fmt: skip
    for _ in range(1 + table):
        counts.clear()
        built = export_plan(config, Quiet(), standing_in(int8_graph))
        assert built.check_result.comparison.reference == "PyTorch"
        assert "the images fill" in built.hints[-1]
        assert counts == ONCE


def test_a_checkpoint_behind_a_uri_is_fetched_once(
    s3, rtx, checkpoint, photos, tmp_path, int8_graph, counts
):
    object_stores.upload(str(checkpoint), f"{s3.url}/model.pth")
    config = settings(
        f"{s3.url}/model.pth", tmp_path / "m.plan", photos, compute_capability=("8.9",)
    )
    built = export_plan(config, Quiet(), standing_in(int8_graph))
    assert built.check_result.comparison.reference == "PyTorch"
    assert counts == ONCE


@pytest.mark.long
def test_images_of_two_flags_are_two_lists(rtx, checkpoint, photos, tmp_path, int8_graph, counts):
    shutil.copytree(photos, tmp_path / "others")
    config = settings(checkpoint, tmp_path / "m.plan", photos, compute_capability=("8.9",),
                      check_images=str(tmp_path / "others"))  # fmt: skip
    export_plan(config, Quiet(), standing_in(int8_graph))
    assert counts == ONCE | {"list_files": 2}


def test_what_is_sent_to_nodes_has_no_checkpoint(checkpoint, photos):
    """They load it themselves, if they can: what they build needs no torch."""
    config = settings(checkpoint, "m.plan", photos)
    source = plan_source(config, ImageLists(), Quiet())
    sent = pickle.dumps(source)
    assert b"torch" not in sent
    assert b"Checkpoint" not in sent
    with pickle.loads(sent).open_reference(1) as there, source.open_reference(1) as here:
        assert there.key == here.key
        assert here.key.startswith("pytorch-cpu")
