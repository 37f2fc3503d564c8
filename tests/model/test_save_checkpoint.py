"""Saving: ODTK's layout, whole or not at all."""

import pickle
from pathlib import Path

import pytest
import torch
import torchvision.models
from odtk_files import ANGLES, RATIOS, SCALES, SMALL, used

from odtk_ray.errors import UsageError
from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint
from odtk_ray.model.retinanet import RetinaNet


def saved(path: Path, model: RetinaNet, **options):
    save_checkpoint(path, model, **{"ratios": RATIOS, "scales": SCALES, **options})
    return torch.load(path, weights_only=True)


def test_saving_what_was_loaded(tmp_path, write, small):
    checkpoint = load_checkpoint(write())
    path = tmp_path / "again.pth"
    content = saved(path, checkpoint.build(), extra={"iteration": 90000, "classes": 99})
    assert content.keys() == small.keys()
    assert content["state_dict"].keys() == small["state_dict"].keys()
    shapes = {name: tensor.shape for name, tensor in small["state_dict"].items()}
    assert {name: tensor.shape for name, tensor in content["state_dict"].items()} == shapes
    again = load_checkpoint(path)
    assert (again.sha256, again.classes) == (checkpoint.sha256, 3)
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_saved_trunks_load_strictly_into_torchvision(tmp_path):
    torch.manual_seed(7)
    content = saved(tmp_path / "m.pth", RetinaNet([SMALL], 1, channels=8))
    prefix = f"backbones.{SMALL}.features."
    trunk = {
        name.removeprefix(prefix): tensor
        for name, tensor in content["state_dict"].items()
        if name.startswith(prefix)
    }
    torchvision.models.mobilenet_v2(weights=None).load_state_dict(trunk, strict=True)


def test_saving_small(tmp_path, write, small):
    model = load_checkpoint(write()).build()
    content = saved(tmp_path / "half.pth", model, half=True, drop_unused=True)
    weights = used(small["state_dict"])
    assert content["state_dict"].keys() == weights.keys()
    for name, tensor in content["state_dict"].items():
        stored = weights[name].half() if weights[name].dim() == 4 else weights[name]
        assert tensor.dtype == stored.dtype
        assert torch.equal(tensor, stored)
    assert load_checkpoint(tmp_path / "half.pth").dtype == "float16"


def test_saving_rotated_boxes_and_names(tmp_path):
    torch.manual_seed(8)
    model = RetinaNet([SMALL], 2, anchors=27, box_values=6, channels=8)
    path = tmp_path / "rotated.pth"
    saved(path, model, angles=ANGLES, class_names=["ship", "plane"], category_ids=[4, 9])
    checkpoint = load_checkpoint(path)
    assert checkpoint.angles == tuple(ANGLES)
    assert checkpoint.class_names == ("ship", "plane")
    assert checkpoint.category_ids == (4, 9)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ratios": [1.0]}, UsageError),  # 3 anchors, the heads have 9
        ({"class_names": ["cat"]}, UsageError),
        ({"extra": {"scheduler": lambda step: step}}, (AttributeError, pickle.PicklingError)),
    ],
    ids=["anchors", "names", "not picklable"],
)
def test_a_failed_save_leaves_the_old_file(tmp_path, write, options, error):
    path = write()
    before = path.read_bytes()
    model = load_checkpoint(path).build()
    with pytest.raises(error):
        saved(path, model, **options)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
