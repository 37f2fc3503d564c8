"""docs/small_installation.md, followed to the letter: an environment with what it names alone."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from documents import ROOT, blocks, command_lines
from synthetic import picture

from odtk_ray.cli.program import cli

PAGE = ROOT / "docs" / "small_installation.md"
JETSON = ROOT / "docs" / "jetson.md"


def installed_by(page, tag):
    """The arguments of each `pip install` in a page's blocks with a tag."""
    lines = [
        line for found, body in blocks(page, "sh") if found == tag for line in command_lines(body)
    ]
    return [shlex.split(line)[2:] for line in lines if line.startswith("pip install")]


def test_pages_ask_for_the_versions_of_the_project():
    known = {line.split(";")[0].strip() for line in importlib.metadata.requires("odtk-ray")}
    of_tegra = {"nvidia-nvimgcodec-tegra-cu12>=0.9"}  # there is no extra for it
    for page, tag in ((PAGE, "install"), (JETSON, "jetson")):
        asked = [word for words in installed_by(page, tag) for word in words]
        assert "." in asked
        assert set(asked) - {"--no-deps", "."} <= known | of_tegra


def test_the_oldest_versions_are_those_of_the_project():
    """Of what everybody needs, and of the extra onnx: what `make test-oldest` installs."""
    wanted = {}
    for line in importlib.metadata.requires("odtk-ray"):
        package, _, marker = line.partition(";")
        if "extra" not in marker or re.search(r"extra == ['\"]onnx['\"]", marker):
            name, version = re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", package).groups()
            wanted[name] = version
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|$", page, re.MULTILINE)) == wanted


@pytest.fixture(scope="module", params=["3.10", "3.12"])
def small(request, tmp_path_factory):
    """The folder of programs of an environment that has what the page names, and TensorRT."""
    python = shutil.which(f"python{request.param}")
    if (
        python is None
        or subprocess.run([python, "-V"], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"there is no Python {request.param}")
    folder = tmp_path_factory.mktemp("small") / "venv"
    subprocess.run([python, "-m", "venv", folder], check=True)
    for words in [*installed_by(PAGE, "install"), ["tensorrt-rtx"]]:
        pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *words], cwd=ROOT, check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def user(tmp_path_factory, checkpoint, graph):
    """What was exported elsewhere, and pictures with a ground truth."""
    folder = tmp_path_factory.mktemp("user")
    arguments = [
        "export",
        checkpoint,
        folder / "detector.onnx",
        "--size",
        "64",
        "--with-postprocess",
    ]
    assert CliRunner().invoke(cli, list(map(str, arguments))).exit_code == 0
    shutil.copy(graph, folder / "model.onnx")
    shutil.copy(checkpoint, folder / "model.pth")
    (folder / "photos").mkdir()
    for seed in range(3):
        picture(seed, 80, 60).save(folder / "photos" / f"{seed}.jpg")
    box = {"category_id": 1, "bbox": [5, 5, 30, 20], "area": 600, "iscrowd": 0}
    document = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 80, "height": 60} for i in range(3)],
        "annotations": [box | {"id": 1 + i, "image_id": i} for i in range(3)],
        "categories": [{"id": 1 + i, "name": f"class {i}"} for i in range(3)],
    }
    (folder / "truth.json").write_text(json.dumps(document), encoding="utf-8")
    found = [{"image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 20], "score": 0.5}]
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
    return folder


def typed(bin_folder: Path, folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """What happens where a user types a line."""
    program, *arguments = line.split()
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(
        [bin_folder / program, *arguments],
        cwd=folder, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_the_environment_has_nothing_else(small, user):
    listed = typed(small, user, "pip --disable-pip-version-check list --format=freeze").stdout
    names = {line.partition("==")[0].lower() for line in listed.splitlines()}
    assert "odtk-ray" in names
    assert not names & {"torch", "ray", "pycocotools", "fsspec", "pandas", "onnx"}


@pytest.mark.long
@pytest.mark.parametrize(
    "line",
    [
        "odtk-ray info detector.onnx",
        "odtk-ray demo trees",
        "odtk-ray convert truth.json opencv.json --to opencv",
        "odtk-ray doctor --annotations truth.json --images photos",
        "odtk-ray export model.onnx model.plan --full-precision --compute-capability 8.9",
        "odtk-ray infer detector.onnx --images photos --local",
        "odtk-ray infer detector.onnx --images photos --local --tile 40 --overlap 10 --draw drawn"
        " --output tiled.json --output tiled.csv --output tiled.parquet --annotations truth.json",
        "odtk-ray evaluate found.json --annotations truth.json",
        "odtk-ray compare found.json found.json --annotations truth.json",
        "odtk-ray bench detector.onnx --launches 2",
    ],
)
def test_what_works(small, user, tmp_path, line):
    folder = tmp_path / "user"
    shutil.copytree(user, folder)
    done = typed(small, folder, line)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("odtk-ray infer model.pth --images photos --local", "needs PyTorch"),
        ("odtk-ray infer model.onnx --images photos --local", "needs PyTorch"),
        ("odtk-ray infer detector.onnx --images photos", "needs Ray"),
        (
            "odtk-ray evaluate found.json --annotations truth.json --report r.html",
            "needs the Python package jinja2",
        ),
    ],
)
def test_what_does_not(small, user, line, what):
    done = typed(small, user, line)
    assert done.returncode == 2
    assert what in done.stderr
    assert "Traceback" not in done.stderr
