"""Files that are no good: each is refused in one or two clauses, and nothing in them is run."""

import os
import pickle
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odtk_files import odtk_file

from odtk_ray.errors import EXIT_USAGE, UsageError
from odtk_ray.model.checkpoint import load_checkpoint

SMALL = "MobileNetV2FPN"
TRUNK = f"backbones.{SMALL}.features."
CONV = f"{TRUNK}features.0.0.weight"


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return odtk_file([SMALL], 3, channels=8)


def refusal(path) -> str:
    """The message, which must be short and the project's own."""
    with pytest.raises(UsageError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert caught.value.exit_code == EXIT_USAGE
    assert message.startswith(f"cannot use checkpoint {path}: ")
    short = message.replace(str(path), "")
    assert len(short) < 400
    assert short.count("\n") <= 1  # the hint's
    assert "weights_only" not in short
    assert "torch.load" not in short
    return short


# --- files ---


def test_missing_file_and_folder(tmp_path):
    assert "No such file" in refusal(tmp_path / "no.pth")
    assert "it is a folder" in refusal(tmp_path)
    assert "Not a directory" in refusal(__file__ + "/x.pth")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(100), "it is not a PyTorch file"),
        (b"epoch,loss\n1,0.5\n", "it is not a PyTorch file"),
        (b"cos\nsystem\n(S'true'\ntR.", "it is not a PyTorch file"),  # pickle in text form
        (pickle.dumps({"backbone": []}, protocol=4), "it is not a PyTorch file"),
        (b"\x80", "it is not a PyTorch file"),
        (b"PK\x03\x04" + bytes(50), "the end of the file is missing"),
        (b"\x80\x02", "incomplete or damaged"),
    ],
    ids=["empty", "JPEG", "text", "text pickle", "pickle 4", "one byte", "zip start", "pickle"],
)
def test_other_files(tmp_path, data, message):
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    assert message in refusal(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("part", [0.001, 0.3, 0.9, 0.9999])
def test_truncated_files(tmp_path, small, legacy, part):
    path = tmp_path / "model.pth"
    torch.save(small, path, _use_new_zipfile_serialization=not legacy)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * part))
    assert "incomplete" in refusal(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "it is a zip archive, not a PyTorch file"),
        (["word/document.xml"], "it is a zip archive, not a PyTorch file"),
        (["retinanet_rn50fpn.pth"], "a zip archive around retinanet_rn50fpn.pth"),
        (["rn50/model.pth", "rn50/README"], "a zip archive around rn50/model.pth"),
        (["m/data.pkl", "m/constants.pkl", "m/version"], "it is a TorchScript program"),
        (["m/data.pkl", "m/version"], "incomplete or damaged"),
    ],
    ids=["empty", "other", "a model in it", "a folder in it", "TorchScript", "no data"],
)
def test_other_zip_files(tmp_path, names, message):
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "")
        for name in names:
            archive.writestr(name, b"x")
    assert message in refusal(path)


@pytest.mark.parametrize("content", [None, torch.zeros(2), [1, 2], "text", 5], ids=repr)
def test_other_contents(tmp_path, content):
    path = tmp_path / "model.pth"
    torch.save(content, path)
    assert f"it holds a {type(content).__name__}, not a checkpoint" in refusal(path)


# --- code in the file ---


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle 2", "pickle 4"])
def test_code_is_not_run(tmp_path, small, form):
    path, marker = tmp_path / "model.pth", tmp_path / "marker"
    content = {**small, "state_dict": {}, "iteration": Evil(marker)}
    if form.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(form[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    message = refusal(path)
    assert not marker.exists()
    if form == "pickle 4":  # not read at all
        assert "it is not a PyTorch file" in message
        pickle.loads(path.read_bytes())
    else:
        assert "it wants to run posix.mkdir, which is refused as unsafe" in message
        if form == "pickle 2":
            pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
    assert marker.exists()  # the file was indeed armed


def test_harmless_objects_are_refused_too(tmp_path, small):
    path = tmp_path / "model.pth"
    torch.save({**small, "state_dict": {}, "trained": zipfile.Path}, path)
    assert "zipfile.Path, which is refused as unsafe" in refusal(path)


# --- settings ---

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
        (True, {"angles": None}, "its heads are those of a rotated model, but it has no 'angles'"),
        (False, {"angles": [0.0]}, "it has 'angles', but its heads are those of an axis-aligned"),
        (False, {"scales": [4.0]}, "9 anchors a cell, but its ratios, scales and angles make 3"),
        (True, {"angles": [0.0]}, "27 anchors a cell, but its ratios, scales and angles make 9"),
    ],
)
def test_heads_for_other_anchors(tmp_path, rotated, changes, message):
    path = tmp_path / "model.pth"
    torch.save({**odtk_file([SMALL], 3, rotated=rotated, channels=8), **changes}, path)
    assert message in refusal(path)


# --- anything ---


@pytest.fixture(scope="module", params=[True, False], ids=["zip", "legacy"])
def tiny(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.pth"
    content = {"backbone": [SMALL], "classes": 3, "state_dict": {"a": torch.ones(4)}}
    torch.save(content, path, _use_new_zipfile_serialization=request.param)
    return path, path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_damage_is_a_usage_error(tiny, data):
    path, good = tiny
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(0, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(bad)) | st.just(len(bad)))
    path.write_bytes(bad[:end])
    with pytest.raises(UsageError):
        load_checkpoint(path)
