"""Planning: when GPUs are tried, and what with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engines_for_tests import PixelEngine
from synthetic import picture, run_settings

from odtk_ray.cluster.local_workers import LocalWorkers
from odtk_ray.config import InferConfig
from odtk_ray.dispatch.agreement import GpuAbilities
from odtk_ray.engines.loader import EngineLoader
from odtk_ray.engines.local_gpus import inspect_machine
from odtk_ray.errors import OdtkError
from odtk_ray.run import missing_sizes
from odtk_ray.run.draft_run import draft_run, open_run_model, read_inputs
from odtk_ray.run.plan_run import make_run_plan
from odtk_ray.settings import Preprocessing
from odtk_ray.worker.fleet import Fleet
from odtk_ray.worker.gpu_trial import GpuTrial
from odtk_ray.worker.warm_up import Needs

PLANNED = [(128, 384), (384, 128)]  # the network inputs of the pictures below
DECODER = "nvimgcodec-0.9.0-hardware"


@pytest.fixture
def config(checkpoint, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(8):
        picture(seed, *((64, 20), (20, 64))[seed % 2]).save(folder / f"{seed}.png")
    output = (str(tmp_path / "out.json"),)
    return InferConfig(
        str(checkpoint), str(folder), output=output, resize=192, max_size=300, batch=4
    )


class GpuWorkers(LocalWorkers):
    """Workers whose GPU has room for two pictures, as they say; notes what they are asked for."""

    def __init__(self):
        super().__init__(Fleet(1, True, 2), Needs())
        self.asked = []

    def map(self, function, calls, ended=lambda _: None):
        self.asked.append("sizes")
        return super().map(function, calls, ended)

    def begin_trial(self, trial, least=1):
        self.asked.append(list(trial.load.shapes))

        def agree():
            self.asked.append("agreed")
            return GpuAbilities(True, (DECODER,), ("it is small",), 2)

        return agree


def asked_for(config, quiet):
    """What the workers are asked for while a run is planned, in order."""
    inputs = read_inputs(config, quiet)
    draft = draft_run(inputs, open_run_model(inputs), quiet)
    workers = GpuWorkers()
    made = make_run_plan(draft, workers, quiet, draft.loader(None, inspect_machine))
    assert quiet.warnings == ["it is small"]
    settings = made.settings
    assert (settings.launch_batch, settings.kernels, settings.decoder) == (2, True, DECODER)
    assert set(made.records["width"].to_pylist()) == {20, 64}
    return workers.asked


def test_what_is_planned_is_tried_when_all_sizes_are_known(config, quiet):
    assert asked_for(config, quiet) == [PLANNED, "agreed"]
    assert quiet.stages[-2:] == ["reading the sizes of the images", "loading the model on 1 GPU"]


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (256, 384)),
        ({"fit": (64, 512), "resize": None, "max_size": None}, (64, 512)),
        ({"max_size": 100}, (128, 128)),
    ],
)
def test_the_largest_allowed_input_is_tried_while_sizes_are_read(
    config, quiet, monkeypatch, changes, shape
):
    monkeypatch.setattr(missing_sizes, "_PATHS_A_CALL", 3)
    asked = asked_for(replace(config, **changes), quiet)
    assert asked == [[shape], "sizes", "agreed"]


def test_an_input_that_few_pictures_have_is_not_tried(config, quiet, monkeypatch):
    monkeypatch.setattr(missing_sizes, "_PATHS_A_CALL", 3)
    asked = asked_for(replace(config, max_size=600), quiet)
    assert asked == ["sizes", [(256, 640), (640, 256)], "agreed"]


class Measured(PixelEngine):
    """An engine with so many free bytes of 100."""

    free = 50

    def memory(self):
        return self.free, 100


class Full(Measured):
    free = 5


def trial(make):
    settings = run_settings(preprocessing=Preprocessing(resize=32, max_size=64), launch_batch=8)
    load = EngineLoader("", "", "auto", settings, shapes=[(128, 128)], make=make)
    return GpuTrial(load)


def test_a_run_in_one_process_tries_beside_what_it_does_else():
    workers = LocalWorkers(Fleet(1, True, 1), Needs(gpu=True))
    try:
        agree = workers.begin_trial(trial(Measured))
        assert workers.map(len, [("abc",)]) == [3]
        assert agree().launch_batch == 8
    finally:
        workers.close()


def test_a_run_in_one_process_has_no_other_for_a_smaller_launch():
    workers = LocalWorkers(Fleet(1, True, 1), Needs(gpu=True))
    try:
        with pytest.raises(OdtkError, match="8 images of the largest size") as caught:
            workers.begin_trial(trial(Full))()
        assert caught.value.hint == "--batch 4"
    finally:
        workers.close()
