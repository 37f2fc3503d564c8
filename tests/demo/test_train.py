"""The training job for real: Ray, two processes, a tiny picture, stopped and continued."""

import json
import os
import subprocess
import sys
from pathlib import Path

import demo_models as models
import numpy as np
import pytest
import torch
import torchvision
import train as job
from click.testing import CliRunner
from PIL import Image
from training.photographs import Photograph
from training.start import starting_model

from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint
from odtk_ray.model.pth import read_pth
from odtk_ray.ops.anchors import DEFAULT_RATIOS, DEFAULT_SCALES

JOBS = Path(__file__).parents[2] / "jobs"


def test_split_keeps_the_strip_for_validation():
    boxes = [[10, 10, 50, 50], [700, 1000, 740, 1050], [100, 880, 140, 920], [0, 950, 20, 990]]
    image = Image.new("RGB", (1250, 1300))
    image.paste((255, 0, 0), (0, 900, 1250, 1300))
    first = Photograph(image, np.array(boxes, np.float64))
    other = Photograph(Image.new("RGB", (50, 60)), np.empty((0, 4)))
    training, validation = models.split([first, other])
    assert [photograph.image.size for photograph in training] == [(1250, 900), (50, 60)]
    assert training[1] is other
    assert not np.asarray(training[0].image).any()
    # Half of the third box is above the border
    assert training[0].boxes.tolist() == [[10, 10, 50, 50], [100, 880, 140, 900]]
    # Squares from the right: 850 to 1250, 450 to 850, 50 to 450; what is left is too narrow
    assert [photograph.image.size for photograph in validation] == [(400, 400)] * 3
    assert all((np.asarray(photograph.image) == (255, 0, 0)).all() for photograph in validation)
    expected = [[], [[250, 100, 290, 150]], [[50, 0, 90, 20]]]
    assert [photograph.boxes.tolist() for photograph in validation] == expected


def test_the_test_photographs_are_not_among_those_that_are_read():
    assert all("YELL" in name for name in models.PHOTOGRAPHS)
    assert len(models.PHOTOGRAPHS) == 2


def test_a_whole_photograph_can_be_kept_for_validation():
    first = Photograph(Image.new("RGB", (850, 1300)), np.array([[100.0, 1150, 140, 1200]]))
    second = Photograph(Image.new("RGB", (400, 450)), np.empty((0, 4)))
    training, validation = models.split([first, second], "first")
    assert training == [second]
    assert [photograph.image.size for photograph in validation] == [(400, 400)] * 6
    # The lowest row of squares begins at 900, its second square at column 50
    assert [photograph.boxes.tolist() for photograph in validation][:2] == [
        [],
        [[50, 250, 90, 300]],
    ]
    training, validation = models.split([first, second], "second")
    assert training == [first]
    assert len(validation) == 1


@pytest.fixture
def data(tmp_path):
    """Two pictures with the names of the photographs, just large enough to be split."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number, (name, size) in enumerate(
        zip(models.PHOTOGRAPHS, [(420, 820), (400, 400)], strict=True)
    ):
        small = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size).save(tmp_path / "photos" / name)
        images.append({"id": number, "file_name": name})
        annotations += [
            {"image_id": number, "category_id": 1, "bbox": [60 * i, 150 * i, 40, 40]}
            for i in range(5)
        ]
    content = {"images": images, "annotations": annotations}
    (tmp_path / "trees.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "to resume from"),
        (["--batch", "3", "--workers", "2"], "--batch 3 cannot be shared by 2 processes"),
    ],
)
def test_what_cannot_start_is_refused_at_once(tmp_path, options, message):
    paths = ["--data", str(tmp_path), "--output", str(tmp_path / "model.pth")]
    result = CliRunner().invoke(job.main, [*paths, *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["trees", "shapes"])
def test_each_model_starts_with_a_checkpoint_that_the_command_line_takes(tmp_path, name):
    trunk = torchvision.models.mobilenet_v2(weights=None).state_dict()
    job.MODELS[name].write_start(tmp_path / "start.pth", trunk, 0)
    checkpoint = load_checkpoint(tmp_path / "start.pth")
    expected = {"trees": (False, 1, 9), "shapes": (True, 4, 27)}[name]
    assert (checkpoint.rotated, checkpoint.classes, checkpoint.anchors_per_cell) == expected
    assert checkpoint.class_names == {"trees": ("tree",), "shapes": models_names()}[name]


def models_names():
    return ("bar", "leaf", "wedge", "bone")


def test_shapes_learn_and_are_judged(data, tmp_path, monkeypatch):
    """One step on real scenes, and the lines that the log gets."""
    monkeypatch.setattr(models.Shapes, "SCENES", 2)
    trunk = torchvision.models.mobilenet_v2(weights=None).state_dict()
    models.Shapes.write_start(tmp_path / "start.pth", trunk, 0)
    model = models.Shapes(data, "strip", 0, "cpu")
    trainer = job.Trainer(
        tmp_path / "start.pth", model.source(1), job.Recipe(iterations=1, batch=1)
    )
    [step] = trainer.steps()
    assert step.focal > 0
    assert step.box > 0
    trainer.export(tmp_path / "model.pth")
    log = job.Log(tmp_path / "log.jsonl")
    log.figures(1, model.judge(str(tmp_path / "model.pth"), final=True))
    rows = [
        json.loads(line)
        for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [row.get("class") for row in rows] == [None, *models_names()]
    assert all(row["resize"] == 640 and 0 <= row["AP50"] <= 1 for row in rows)
    assert {"AP", "AP50", "AP75", "AP50 unturned", "angle error"} <= set(rows[0])


def test_shapes_are_judged_on_what_they_do_not_learn_from(data, monkeypatch):
    monkeypatch.setattr(models.Shapes, "SCENES", 1)
    model = models.Shapes(data, "strip", 0, "cpu")
    heights = [photograph.image.height for photograph in model.training]
    assert heights == [820 - models.STRIP, 400]
    assert [photograph.image.size for photograph in model.validation] == [(400, 400)]
    assert models.Shapes.SEED > 1000  # trainings have small seeds


@pytest.fixture
def start(tmp_path):
    model = starting_model(torchvision.models.mobilenet_v2(weights=None).state_dict(), 0)
    options = {"ratios": DEFAULT_RATIOS, "scales": DEFAULT_SCALES, "class_names": ["tree"]}
    save_checkpoint(tmp_path / "start.pth", model, **options)
    return tmp_path / "start.pth"


@pytest.mark.long
@pytest.mark.cluster
def test_two_processes_continue_a_training(data, start):
    output = data / "model.pth"
    folder = data / "model.pth.training"
    folder.mkdir()
    source = models.Trees(data, "strip", 0, "cpu").source(0)
    begun = job.Trainer(start, source, job.Recipe(iterations=1, batch=2))
    list(begun.steps())
    begun.save(folder / "training.pth")

    command = [sys.executable, str(JOBS / "demo" / "train.py"), "--data", str(data)]
    command += ["--output", str(output), "--workers", "2", "--batch", "2", "--resume"]
    run = subprocess.run(
        [*command, "--iterations", "3", "--every", "2"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    training = read_pth(folder / "training.pth")
    assert training["iteration"] == 3
    assert training["scheduler"]["last_epoch"] == 3
    before = begun.model.state_dict()["cls_head.0.weight"]
    assert not torch.equal(training["state_dict"]["cls_head.0.weight"], before)
    assert load_checkpoint(output).class_names == ("tree",)
    log = [
        json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [(row["iteration"], row["resize"]) for row in log] == [
        (2, 800),
        (3, 800),
        *((3, resize) for resize in models.Trees.RESIZES),
        *((3, 800) for _ in models.SHIFTS),
    ]
    assert [row["shift"] for row in log if "shift" in row] == list(models.SHIFTS)
    assert all(0 <= row["AP50"] <= 1 for row in log)
