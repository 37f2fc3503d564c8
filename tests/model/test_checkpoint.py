"""Good checkpoints: ODTK's layouts, and what is read from them."""

import pickle

import pytest
import torch
from odtk_files import ANGLES, RATIOS, SCALES, SMALL, odtk_file, odtk_state, training_state, used

from odtk_ray.model.checkpoint import describe_checkpoint, load_checkpoint


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_training_checkpoint_of_odtk(tmp_path, legacy):
    torch.manual_seed(3)
    content = odtk_file(["ResNet18FPN"], 80) | training_state()
    path = tmp_path / "retinanet_rn18fpn.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    checkpoint = load_checkpoint(path)
    path.unlink()
    assert len(content["state_dict"]) == 138
    assert checkpoint.path == str(path)
    assert (checkpoint.backbones, checkpoint.classes) == (("ResNet18FPN",), 80)
    assert (checkpoint.ratios, checkpoint.scales) == (tuple(RATIOS), tuple(SCALES))
    assert (checkpoint.angles, checkpoint.rotated) == (None, False)
    assert (checkpoint.anchors_per_cell, checkpoint.box_values) == (9, 4)
    assert (checkpoint.anchors, checkpoint.channels) == ("current", 256)
    assert (checkpoint.class_names, checkpoint.category_ids) == (None, None)
    assert (checkpoint.iteration, checkpoint.dtype) == (90000, "float32")
    model = checkpoint.build()
    assert not model.training
    expected = used(content["state_dict"])
    built = {k: t for k, t in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert built.keys() == expected.keys()
    assert all(torch.equal(built[name], expected[name]) for name in expected)
    for tensor in model.state_dict(keep_vars=True).values():
        assert tensor.device.type == "cpu"
        assert not tensor.requires_grad
    logits, deltas = model(torch.zeros(1, 3, 128, 128))
    assert logits[0].shape == (1, 720, 16, 16)
    assert deltas[4].shape == (1, 36, 1, 1)


def test_batch_counters_may_be_there(tmp_path, write):
    torch.manual_seed(4)
    state = odtk_state([SMALL], 3, channels=8, counters=True)
    with_counters = load_checkpoint(write({"state_dict": state}))
    without = {k: t for k, t in state.items() if not k.endswith("num_batches_tracked")}
    assert (len(state), len(without)) == (350, 298)
    fixed = load_checkpoint(write({"state_dict": without}))
    assert with_counters.sha256 == fixed.sha256
    x = torch.randn(1, 3, 128, 128)
    for a, b in zip(with_counters.build()(x)[0], fixed.build()(x)[0], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("changes", "asked", "generation", "why"),
    [
        ({"ratios": None, "scales": None}, "auto", "legacy", "before March 2020"),
        ({}, "auto", "current", "states its ratios"),
        ({}, "legacy", "legacy", "asked"),
        ({"ratios": None, "scales": None}, "current", "current", "asked"),
    ],
)
def test_anchor_generation(write, changes, asked, generation, why):
    checkpoint = load_checkpoint(write(changes), asked)
    assert checkpoint.anchors == generation
    assert why in checkpoint.anchors_why
    assert (checkpoint.ratios, checkpoint.scales) == (tuple(RATIOS), tuple(SCALES))


def test_rotated(tmp_path):
    torch.manual_seed(5)
    path = tmp_path / "rotated.pth"
    torch.save(odtk_file([SMALL], 3, rotated=True, channels=8), path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.rotated
    assert checkpoint.angles == tuple(ANGLES)
    assert (checkpoint.anchors_per_cell, checkpoint.box_values) == (27, 6)
    logits, deltas = checkpoint.build()(torch.zeros(1, 3, 128, 128))
    assert (logits[0].shape[1], deltas[0].shape[1]) == (27 * 3, 27 * 6)


def test_rotated_models_of_odtk_0_2_did_not_store_their_angles(tmp_path):
    content = odtk_file([SMALL], 3, rotated=True, channels=8)
    paths = [tmp_path / "new.pth", tmp_path / "old.pth"]
    for path, angles in zip(paths, (ANGLES, None), strict=True):
        torch.save({**content, "angles": angles}, path)
    new, old = map(load_checkpoint, paths)
    assert (old.angles, old.sha256) == (new.angles, new.sha256)


def test_two_backbones_in_the_files_order(tmp_path):
    torch.manual_seed(6)
    names = ["ResNet18FPN", SMALL]
    content = odtk_file(names, 2, channels=8)
    path = tmp_path / "two.pth"
    torch.save(content, path)
    checkpoint = load_checkpoint(path)
    torch.save({**content, "backbone": names[::-1]}, path)
    turned = load_checkpoint(path)
    path.unlink()
    x = torch.randn(1, 3, 128, 128)
    logits, turned_logits = checkpoint.build()(x)[0], turned.build()(x)[0]
    assert len(logits) == 10
    for a, b in zip(logits, turned_logits[5:] + turned_logits[:5], strict=True):
        assert torch.equal(a, b)
    assert checkpoint.sha256 != turned.sha256  # ties in NMS go by the order of the levels


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_built_as_float32(write, small, dtype):
    state = {name: tensor.to(dtype) for name, tensor in small["state_dict"].items()}
    checkpoint = load_checkpoint(write({"state_dict": state}))
    assert f"torch.{checkpoint.dtype}" == str(dtype)
    built = checkpoint.build().state_dict()
    for name, tensor in used(state).items():
        assert built[name].dtype == torch.float32
        assert torch.equal(built[name], tensor.float())


def test_names_and_ids(write):
    path = write({"class_names": ["cat", "dog", "eel"], "category_ids": [17, "18", 90]})
    checkpoint = load_checkpoint(path)
    assert checkpoint.class_names == ("cat", "dog", "eel")
    assert checkpoint.category_ids == (17, "18", 90)


def test_a_checkpoint_survives_pickling(write):
    checkpoint = load_checkpoint(write())
    again = pickle.loads(pickle.dumps(checkpoint))
    assert again == checkpoint
    assert hash(again) == hash(checkpoint)


def test_describe(write, small):
    path = write({"class_names": ["cat", "dog", "eel"], "category_ids": [1, 2, 5]})
    checkpoint = load_checkpoint(path)
    rows = dict(describe_checkpoint(checkpoint))
    assert rows.pop("sha256") == checkpoint.sha256[:12]
    weights = used(small["state_dict"])
    count = sum(t.numel() for name, t in weights.items() if "running_" not in name)
    assert rows == {
        "file": str(path),
        "backbone": SMALL,
        "classes": "3: cat, dog, eel",
        "boxes": "axis-aligned",
        "anchors": "current (the file states its ratios)",
        "anchors a cell": "9",
        "ratios": "1, 2, 0.5",
        "scales": "4, 5.04, 6.35",
        "category ids": "1, 2, 5",
        "channels": "8",
        "parameters": f"{count:,}",
        "weights": "float32",
        "iteration": "90000",
    }
