"""Checkpoints whose entries or tensors are wrong: refused in one or two clauses."""

from pathlib import Path

import pytest
import torch
from odtk_files import SMALL, odtk_file, refusal, used

from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.model.weights import digest

CONV = f"backbones.{SMALL}.features.features.0.0.weight"

WRONG_ENTRIES = [
    ("backbone", None, "it has no 'backbone'"),
    ("classes", None, "it has no 'classes'"),
    ("state_dict", None, "it has no 'state_dict'"),
    ("backbone", [], "its 'backbone' is [], not a list of backbone names"),
    ("backbone", SMALL, "its 'backbone' is 'MobileNetV2FPN', not a list"),
    ("backbone", [1], "its 'backbone' is [1], not a list"),
    ("backbone", ["ResNet5OFPN"], "unknown backbone 'ResNet5OFPN'\n  hint: did you mean ResNet50"),
    ("backbone", ["mobilenetv2fpn"], "did you mean MobileNetV2FPN?"),
    ("backbone", ["x" * 1000], "known: ResNet18FPN, "),
    ("backbone", [SMALL, SMALL], "names one twice: MobileNetV2FPN, MobileNetV2FPN"),
    ("classes", "3", "its 'classes' is '3', not a whole number"),
    ("classes", 3.0, "its 'classes' is 3.0, not a whole number"),
    ("classes", True, "its 'classes' is True, not a whole number"),
    ("classes", 0, "its 'classes' is 0, not a whole number from 1"),
    ("classes", 10**30, "not a whole number from 1 to 1000000"),
    ("state_dict", [], "its 'state_dict' is [], not a table of tensors"),
    ("ratios", [], "its 'ratios' is [], not a list of positive numbers"),
    ("ratios", [1.0, 0.0], "not a list of positive numbers"),
    ("ratios", 1.0, "not a list of positive numbers"),
    ("scales", [4.0, float("nan")], "not a list of positive numbers"),
    ("scales", [4.0, float("inf")], "not a list of positive numbers"),
    ("scales", [10**400], "not a list of positive numbers"),
    ("scales", ["4"], "not a list of positive numbers"),
    ("scales", torch.ones(3), "not a list of positive numbers"),
    ("angles", [], "its 'angles' is [], not a list of angles in radians"),
    ("channels", -1, "its 'channels' is -1, not a whole number"),
    ("iteration", 0.5, "its 'iteration' is 0.5, not a whole number"),
    ("class_names", ["a", "b"], "its 'class_names' has 2 entries for 3 classes"),
    ("class_names", "abc", "its 'class_names' is 'abc', not a list of names"),
    ("class_names", [1, 2, 3], "its 'class_names' is [1, 2, 3], not a list of names"),
    ("category_ids", [1, 2, 3, 4], "its 'category_ids' has 4 entries for 3 classes"),
    ("category_ids", [1, 2, 3.0], "not a list of numbers or texts"),
    ("category_ids", [1, 2, True], "not a list of numbers or texts"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG_ENTRIES)
def test_wrong_entries(tmp_path, small, key, value, message):
    path = tmp_path / "model.pth"
    content = {**small, "state_dict": {}, key: value}
    torch.save({k: v for k, v in content.items() if v is not None}, path)
    assert message in refusal(path)


def test_empty_table_and_plain_state_dict(tmp_path, small):
    path = tmp_path / "model.pth"
    torch.save({}, path)
    assert "it has no 'backbone', 'classes', 'state_dict'" in refusal(path)
    torch.save(small["state_dict"], path)
    assert "tensors alone, without the 'backbone' and 'classes'" in refusal(path)


# --- tensors ---


def without(state, *names):
    return {name: tensor for name, tensor in state.items() if name not in names}


def with_value(state, name, value):
    tensor = state[name].clone()
    tensor.view(-1)[-1] = value
    return {**state, name: tensor}


WRONG_TENSORS = {
    # 298 keys of the table, 5 of features.18 and 2 of the classifier are unused
    "none": (lambda s: {}, "291 missing"),
    "missing": (
        lambda s: without(s, CONV, "cls_head.0.bias"),
        f"2 missing ({CONV}, cls_head.0.bias)",
    ),
    "unexpected": (
        lambda s: {**s, "ema.weight": torch.ones(1), 5: 6},
        "2 unexpected (ema.weight, 5)",
    ),
    "shape": (
        lambda s: {**s, CONV: torch.ones(32, 3, 3, 5)},
        f"1 of the wrong shape ({CONV} is 32x3x3x5 and should be 32x3x3x3)",
    ),
    "scalar": (lambda s: {**s, "cls_head.8.weight": torch.tensor(1.0)}, "is one number and"),
    "classes": (
        lambda s: {**s, "cls_head.8.weight": torch.ones(720, 8, 3, 3)},
        "cls_head.8.weight is 720x8x3x3 and should be 27x8x3x3",
    ),
    "no rows": (
        lambda s: {
            **s,
            "cls_head.8.weight": torch.ones(0, 8, 3, 3),
            "box_head.8.weight": torch.ones(0, 8, 3, 3),
        },
        "2 of the wrong shape",
    ),
    "integers": (
        lambda s: {**s, CONV: torch.ones(32, 3, 3, 3, dtype=torch.int64)},
        f"these are not tensors of floating-point numbers: {CONV}",
    ),
    "no tensor": (lambda s: {**s, CONV: [1.0]}, f"floating-point numbers: {CONV}"),
    "sparse": (lambda s: {**s, CONV: s[CONV].to_sparse()}, f"floating-point numbers: {CONV}"),
    "without data": (lambda s: {**s, CONV: s[CONV].to("meta")}, f"floating-point numbers: {CONV}"),
    "NaN": (lambda s: with_value(s, CONV, float("nan")), f"{CONV} holds NaN or infinity"),
    "infinity": (
        lambda s: with_value(s, "box_head.8.bias", float("-inf")),
        "box_head.8.bias holds NaN or infinity",
    ),
    "too large for float32": (
        lambda s: {**s, CONV: torch.full((32, 3, 3, 3), 1e300, dtype=torch.float64)},
        f"{CONV} holds NaN or infinity",
    ),
    "repeated": (
        lambda s: {**s, CONV: torch.ones(1).expand(32, 3, 3, 3)},
        f"{CONV} repeats 4 stored bytes to make 3,456",  # 32 * 3 * 3 * 3 * 4
    ),
    "rows that overlap": (
        lambda s: {**s, CONV: torch.ones(400).as_strided((32, 3, 3, 3), (12, 9, 3, 1))},
        f"{CONV} repeats 1,600 stored bytes to make 3,456",
    ),
}


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(("change", "message"), WRONG_TENSORS.values(), ids=WRONG_TENSORS)
def test_wrong_tensors(tmp_path, small, change, message):
    path = tmp_path / "model.pth"
    torch.save({**small, "state_dict": change(small["state_dict"])}, path)
    assert message in refusal(path)


def test_another_backbones_tensors(tmp_path, small):
    path = tmp_path / "model.pth"
    torch.save({**small, "backbone": ["ResNet18FPN"]}, path)
    # 138 keys of the table, 2 of fc are unused and the 20 of the heads fit; 298 less those 20
    message = refusal(path)
    assert "do not fit ResNet18FPN with 3 classes: 116 missing" in message
    assert ", 278 unexpected" in message


@pytest.mark.parametrize(
    ("rotated", "changes", "message"),
    [
        (True, {"angles": None, "scales": [4.0]}, "a rotated model with 27 anchors a cell, but it"),
        (False, {"angles": [0.0]}, "it has 'angles', but its heads are those of an axis-aligned"),
        (False, {"scales": [4.0]}, "9 anchors a cell, but its ratios, scales and angles make 3"),
        (True, {"angles": [0.0]}, "27 anchors a cell, but its ratios, scales and angles make 9"),
    ],
)
def test_heads_for_other_anchors(tmp_path, rotated, changes, message):
    path = tmp_path / "model.pth"
    torch.save({**odtk_file([SMALL], 3, rotated=rotated, channels=8), **changes}, path)
    assert message in refusal(path)


def test_a_small_file_that_stands_for_much_is_refused_before_it_is_made(tmp_path):
    """Less than 100 kB, and 389 GB of tensors that all have the right shapes."""
    with torch.device("meta"):
        shapes = odtk_file([SMALL], 3, channels=30_000)["state_dict"]
    one = torch.ones(1)
    state = {name: one.expand(tensor.shape) for name, tensor in used(shapes).items()}
    assert sum(tensor.numel() * 4 for tensor in state.values()) > 380e9
    content = odtk_file([SMALL], 3, channels=8)
    path = tmp_path / "model.pth"
    torch.save({**content, "channels": 30_000, "state_dict": state}, path)
    assert path.stat().st_size < 100_000
    assert "repeats 4 stored bytes to make" in refusal(path)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts what Linux reads")
def test_what_is_not_used_is_not_read(tmp_path, small):
    path = tmp_path / "model.pth"
    torch.save({**small, "optimizer": torch.zeros(16 << 20)}, path)  # 64 MiB
    before = bytes_read()
    checkpoint = load_checkpoint(path)
    assert bytes_read() - before < 16 << 20
    path.write_bytes(bytes(path.stat().st_size))  # in place: what was loaded stays as it was
    assert checkpoint.sha256 == digest(checkpoint, "current", checkpoint.state_dict)


def bytes_read():
    return int(Path("/proc/self/io").read_text(encoding="utf-8").split()[1])


def test_a_file_system_that_maps_no_files_is_read(tmp_path, small, monkeypatch):
    path, load = tmp_path / "model.pth", torch.load
    torch.save(small, path)
    mapped = load_checkpoint(path)

    def without_maps(*arguments, mmap=None, **options):
        if mmap:
            raise RuntimeError(f"unable to mmap 5 bytes from file <{path}>: No such device (19)")
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", without_maps)
    assert load_checkpoint(path).sha256 == mapped.sha256
