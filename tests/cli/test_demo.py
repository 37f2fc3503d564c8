"""`odtk-ray demo` as a user calls it: what it writes, refuses and prints."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from effort import long_case
from PIL import Image, ImageChops

import odtk_ray.assets
from odtk_ray.cli.program import cli

ASSETS = Path(odtk_ray.assets.__file__).parent
FILES = {
    "SOURCES.md": "README.md",
    "photographs/OSBS_029.jpg": "OSBS_029.jpg",
    "photographs/SOAP_061.jpg": "SOAP_061.jpg",
    "trees.json": "trees.json",
    "trees.pth": "trees.pth",
}


def run(*arguments):
    outcome = CliRunner().invoke(cli, [str(a) for a in arguments])
    assert "Traceback" not in outcome.stderr
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit)
    return outcome


def demo(folder):
    return run("demo", "--", folder)


def printed(outcome):
    """The line to paste; names may have line ends in them, so what stands around it ends it."""
    return outcome.stdout.split(", run:\n\n  ")[1].split("\n\nThen look at ")[0]


def listing(folder):
    """Whatever is below a folder, and which very files these are."""
    paths = sorted(Path(folder).rglob("*"))
    return {str(p.relative_to(folder)): (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in paths}


def test_files_are_those_of_the_package(tmp_path):
    outcome = demo(tmp_path / "new" / "demo")
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    folder = tmp_path / "new" / "demo"
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    assert sorted(found) == sorted(FILES)
    for name, source in FILES.items():
        content = (ASSETS / source).read_bytes()
        assert found[name].read_bytes() == content
        assert f"wrote {folder / name} ({len(content):,} bytes)" in outcome.stdout.splitlines()


def test_what_is_there_stays(tmp_path):
    first = demo(tmp_path)
    (tmp_path / "detections.json").write_text("of a run", encoding="utf-8")
    before = listing(tmp_path)
    again = demo(tmp_path)
    assert again.exit_code == 0
    assert again.stdout == first.stdout.replace("wrote ", "kept ")
    assert listing(tmp_path) == before
    (tmp_path / "trees.json").unlink()
    mended = demo(tmp_path).stdout
    assert mended.count("kept ") == 4
    assert f"wrote {tmp_path / 'trees.json'} (" in mended
    assert (tmp_path / "trees.json").read_bytes() == (ASSETS / "trees.json").read_bytes()


def other_bytes(path):
    content = bytearray((ASSETS / FILES["trees.json"]).read_bytes())
    content[100] ^= 1  # of the same length
    path.write_bytes(content)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize(
    "obstacle",
    [
        lambda path: path.write_bytes(b""),
        other_bytes,
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("nowhere"),
        os.mkfifo,  # a program that opens it waits for ever
    ],
    ids=["empty", "other bytes", "folder", "dangling link", "pipe"],
)
def test_nothing_is_overwritten(tmp_path, name, obstacle):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    obstacle(path)
    before = listing(tmp_path)
    outcome = demo(tmp_path)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert outcome.stderr == (
        f"error: cannot write {path}: something else is there already\n"
        "  hint: choose another folder, or move it away\n"
    )
    assert listing(tmp_path) == before


def test_a_link_to_the_same_bytes_is_kept(tmp_path):
    (tmp_path / "trees.pth").symlink_to(ASSETS / "trees.pth")
    assert f"kept {tmp_path / 'trees.pth'} (" in demo(tmp_path).stdout
    assert (tmp_path / "trees.pth").is_symlink()


def test_the_folder_of_photographs_is_a_file(tmp_path):
    (tmp_path / "photographs").write_text("mine", encoding="utf-8")
    outcome = demo(tmp_path)
    assert outcome.exit_code == 2
    assert outcome.stderr == f"error: cannot write to {tmp_path}/photographs: it is not a folder\n"
    assert os.listdir(tmp_path) == ["photographs"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("", "cannot write to '': DIR must be a local folder"),
        ("s3://bucket/demo", "cannot write to 's3://bucket/demo': DIR must be a local folder"),
        ("b\udcffd", r"cannot write to 'b\udcffd': its name is not UTF-8"),
        ("file", "cannot write to file: it is not a folder"),
        ("file/below", "cannot make file/below: Not a directory"),
        ("n" * 256, f"cannot make {'n' * 160}...{'n' * 59}: File name too long"),
        ("/proc", "cannot write /proc/trees.pth: /proc: No such file or directory"),
    ],
)
def test_no_folder_to_write_to(tmp_path, monkeypatch, folder, message):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine", encoding="utf-8")
    outcome = demo(folder)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert outcome.stderr.splitlines()[0] == f"error: {message}"
    assert os.listdir() == ["file"]
    assert Path("file").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    outcome = demo(tmp_path)
    assert outcome.exit_code == 2
    assert "Permission denied" in outcome.stderr


ODD = [
    "two words",
    "-dash",
    "--output",
    "~",
    "it's",
    "a*[b]?",
    "$HOME",
    "a\nb",
    "é",
    ".",
    "down/",
    "#",
]


@pytest.mark.parametrize("folder", ODD)
def test_the_printed_line_means_these_files_to_a_shell(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    outcome = demo(folder)
    assert outcome.exit_code == 0
    shell = f"odtk-ray() {{ printf '%s\\0' \"$@\"; }}\n{printed(outcome)}"
    listed = subprocess.run(["bash", "-c", shell], capture_output=True, check=True)
    command, *arguments = os.fsdecode(listed.stdout).split("\0")[:-1]
    assert command == "infer"
    params = cli.commands["infer"].make_context("infer", arguments).params
    assert params["resize"] == 1000
    place = tmp_path / folder
    for key, name in [("model", "trees.pth"), ("annotations", "trees.json")]:
        assert os.path.samefile(params[key], place / name)
    # Of these `infer` takes a ~ for the home folder.
    assert os.path.samefile(os.path.expanduser(params["images"]), place / "photographs")
    (output,) = params["output"]
    assert os.path.abspath(output) == os.path.normpath(place / "detections.json")
    assert os.path.abspath(params["draw"]) == os.path.normpath(place / "drawn")


@pytest.mark.parametrize("folder", [long_case("trees"), "-t *"])
def test_the_printed_line_finds_trees(runs, tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(printed(demo(folder)))
    assert program == "odtk-ray"
    outcome = run(*arguments, "--threads-per-worker", "1")
    assert outcome.exit_code == 0, outcome.output
    figures = json.loads(Path(folder, "detections.metrics.json").read_text(encoding="utf-8"))
    # docs/demo_model.md: AP50 of 0.383 on these JPEGs, 0.404 on the PNGs that they were made of.
    # At --resize 400 it has 0.26 or less on each.
    assert figures["stats"]["AP50"] == pytest.approx(0.383, abs=0.03)
    found = json.loads(Path(folder, "detections.json").read_text(encoding="utf-8"))["annotations"]
    good = {image: 0 for image in (1, 2)}
    for entry in found:
        good[entry["image_id"]] += entry["score"] >= 0.3
    # The same page: 62 and 19.
    assert good == {1: pytest.approx(62, abs=4), 2: pytest.approx(19, abs=4)}
    for name in ("OSBS_029.jpg", "SOAP_061.jpg"):
        plain, drawn = (Image.open(Path(folder, place, name)) for place in ("photographs", "drawn"))
        assert ImageChops.difference(plain, drawn).getbbox() is not None
        red, *others = np.moveaxis(np.asarray(drawn), -1, 0)
        # Ten boxes of 20x20 pixels with lines of one pixel have 800.
        assert np.sum((red > 200) & (np.maximum(*others) < 100)) > 500
