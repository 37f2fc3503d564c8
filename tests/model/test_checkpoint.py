"""Good checkpoints: ODTK's layouts, what is read from them, the digest, saving."""

import pickle
from pathlib import Path

import pytest
import torch
import torchvision.models
from odtk_files import ANGLES, RATIOS, SCALES, odtk_file, odtk_state, training_state, used

from odtk_ray.errors import UsageError
from odtk_ray.model.checkpoint import describe, load_checkpoint, save_checkpoint
from odtk_ray.model.retinanet import RetinaNet

SMALL = "MobileNetV2FPN"
DEAD = "backbones.MobileNetV2FPN.features.classifier.1.bias"
CONV = "backbones.MobileNetV2FPN.features.features.0.0.weight"


@pytest.fixture(scope="module")
def small():
    """A narrow network with 3 classes: the file is small and its trunk is ODTK's."""
    torch.manual_seed(0)
    return odtk_file([SMALL], 3, channels=8)


@pytest.fixture
def write(tmp_path, small):
    """Saves the small file with some entries replaced (None takes one out)."""

    def save(changes=None, *, legacy=False, name="model.pth"):
        content = {**small, **(changes or {})}
        content = {key: value for key, value in content.items() if value is not None}
        path = tmp_path / name
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        return path

    return save


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


# --- the digest ---


def poke(small, name, value):
    state = dict(small["state_dict"])
    state[name] = state[name].clone()
    state[name].view(-1)[0] = value
    return {"state_dict": state}


SAME = {
    "file format": lambda small: {},
    "optimizer": lambda small: training_state(),
    "iteration": lambda small: {"iteration": 1},
    "names": lambda small: {"class_names": ["a", "b", "c"]},
    "order": lambda small: {"state_dict": dict(reversed(small["state_dict"].items()))},
    "unused tensors absent": lambda small: {"state_dict": used(small["state_dict"])},
    "unused tensors other": lambda small: poke(small, DEAD, float("nan")),
    "parameters": lambda small: {
        "state_dict": {name: torch.nn.Parameter(t) for name, t in small["state_dict"].items()}
    },
    "strides": lambda small: {
        "state_dict": {
            name: t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t
            for name, t in small["state_dict"].items()
        }
    },
}
OTHER = {
    "one weight": lambda small: poke(small, CONV, 0.125),
    "dtype": lambda small: {
        "state_dict": {name: t.half() for name, t in small["state_dict"].items()}
    },
    "ratios": lambda small: {"ratios": [1.0, 2.0, 0.25]},
    "scales": lambda small: {"scales": [4.0, 5.0, 6.0]},
    "generation": lambda small: {"ratios": None, "scales": None},
}


@pytest.fixture(scope="module")
def digest(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "model.pth"
    torch.save(small, path)
    return load_checkpoint(path).sha256


@pytest.mark.parametrize("name", SAME)
def test_digest_ignores(write, small, digest, name):
    path = write(SAME[name](small), legacy=name == "file format")
    assert load_checkpoint(path).sha256 == digest


def test_digest_tells_apart(write, small):
    changes = [{}, *(change(small) for change in OTHER.values())]
    digests = [load_checkpoint(write(change)).sha256 for change in changes]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


def test_the_strides_case_is_not_contiguous(small):
    assert not SAME["strides"](small)["state_dict"][CONV].is_contiguous()


def test_expected_digest(write, small, digest):
    assert load_checkpoint(write(), expect=digest).sha256 == digest
    other = write(poke(small, CONV, 0.125))
    with pytest.raises(UsageError, match=f"this run's is {digest[:12]}"):
        load_checkpoint(other, expect=digest)


# --- describing and saving ---


def test_describe(write, small):
    path = write({"class_names": ["cat", "dog", "eel"], "category_ids": [1, 2, 5]})
    checkpoint = load_checkpoint(path)
    rows = dict(describe(checkpoint))
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
