"""Files that are no checkpoints: refused in one or two clauses, and nothing in them is run."""

import os
import pickle
import zipfile

import pytest
import torch
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from odtk_files import SMALL, refusal

from odtk_ray.errors import UsageError
from odtk_ray.model.checkpoint import load_checkpoint


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


def test_compressed_entries_are_refused(tmp_path, small):
    """torch would map what is compressed as if it were numbers."""
    plain, path = tmp_path / "plain.pth", tmp_path / "model.pth"
    torch.save(small, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "its entries are compressed" in refusal(path)


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


# --- damage anywhere ---


@pytest.fixture(scope="module", params=[True, False], ids=["zip", "legacy"])
def tiny(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.pth"
    content = {"backbone": [SMALL], "classes": 3, "state_dict": {"a": torch.ones(4)}}
    torch.save(content, path, _use_new_zipfile_serialization=request.param)
    return path, path.read_bytes()


# An offset from the end of the zip file and the byte to put there: a field of an entry, and the
# number of the disk, which zipfile itself trips over.
@pytest.mark.parametrize(("place", "value"), [(-509, 1), (-509, 4), (-25, 1)])
def test_a_damaged_directory_is_a_usage_error(tmp_path, place, value):
    path = tmp_path / "tiny.pth"
    torch.save({"backbone": [SMALL], "classes": 3, "state_dict": {"a": torch.ones(4)}}, path)
    bad = bytearray(path.read_bytes())
    bad[place] = value
    path.write_bytes(bytes(bad))
    with pytest.raises(UsageError):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@examples(60)
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
