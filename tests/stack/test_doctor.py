"""`odtk-ray doctor` where half of what it examines is missing or broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "numpy PIL pyarrow orjson rich torch ray pycocotools fsspec s3fs gcsfs onnx onnxruntime "
    "tensorrt tensorrt_rtx pycuda nvidia"
).split()

# Python imports this module by itself at its start.
BLOCKER = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


class Stack:
    """A folder in front of all others on Python's path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.block(*PACKAGES)

    def block(self, *names):
        """These packages cannot be found."""
        text = BLOCKER.format(names=names)
        (self.folder / "sitecustomize.py").write_text(text, encoding="utf-8")

    def module(self, name, text):
        """This package is another one."""
        (self.folder / f"{name}.py").write_text(text, encoding="utf-8")

    def installed(self, name, version):
        """This package is installed, as its metadata says."""
        about = self.folder / f"{name}-{version}.dist-info"
        about.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (about / "METADATA").write_text(text, encoding="utf-8")

    def run(self, *arguments, python=()):
        """The outcome of `odtk-ray doctor`."""
        env = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
        env["PYTHONPATH"] = os.pathsep.join([str(self.folder), str(ROOT)])
        command = [sys.executable, *python, "-m", "odtk_ray", "doctor", *map(str, arguments)]
        return subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True,
                              check=False)  # fmt: skip

    def findings(self, *arguments, python=()):
        """The exit code, and level, text and remedy by name."""
        outcome = self.run("--json", *arguments, python=python)
        assert outcome.stderr == ""
        rows = json.loads(outcome.stdout)
        return outcome.returncode, {row.pop("name"): tuple(row.values()) for row in rows}


@pytest.fixture
def stack(tmp_path):
    return Stack(tmp_path)


def test_without_any_library_everything_else_is_examined(stack):
    """Installed as the metadata says, and not to be found: numpy's files are gone."""
    code, found = stack.findings()
    assert code == 1
    for name in ("Python", "odtk-ray"):
        assert found[name][0] == "ok"
    assert {"memory", "disk", "/dev/shm", "loaded CUDA", "GPUs", "compiler"} <= found.keys()
    level, text, remedy = found["numpy"]
    assert (level, remedy) == ("problem", "pip install --force-reinstall --no-deps numpy")
    assert text.endswith("is installed, and its files are not")


def test_what_is_broken_is_named_and_stops_nothing(stack):
    stack.block(*(name for name in PACKAGES if name not in ("numpy", "torch", "orjson", "rich")))
    stack.module("numpy", "raise RuntimeError('made for another Python')")
    stack.module("torch", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    stack.module("orjson", "__version__ = '2.0.0'")
    stack.installed("orjson", "2.0.0")
    stack.module("rich", "import sys; sys.exit(0)")
    code, found = stack.findings()
    assert code == 1
    assert found["numpy"][0] == found["torch"][0] == found["rich"][0] == "problem"
    assert "cannot be imported: RuntimeError: made for another Python" in found["numpy"][1]
    assert "cannot be imported: the process died (SIGSEGV)" in found["torch"][1]
    assert "SystemExit" in found["rich"][1]
    # pyproject.toml asks for orjson>=3.9.
    assert found["orjson"] == (
        "problem",
        "2.0.0 is too old: 3.9 or newer is needed",
        "pip install 'orjson>=3.9'",
    )
    assert "GPUs" in found


def test_another_copy_than_the_installed_one_is_a_problem(stack):
    stack.block(*(name for name in PACKAGES if name != "orjson"))
    stack.module("orjson", "__version__ = '3.77.0'")
    _, found = stack.findings()
    level, text, _ = found["orjson"]
    assert level == "problem"
    assert text.startswith(f"3.77.0 is imported from {stack.folder}/orjson.py, but ")


def test_missing_extras_are_no_problem_and_missing_torch_a_warning(stack):
    """In a Python that has click and no other package."""
    (stack.folder / "sitecustomize.py").unlink()
    (stack.folder / "click").symlink_to(Path(click.__file__).parent)
    code, found = stack.findings(python=["-S"])
    assert code == 1
    assert found["numpy"] == ("problem", "not installed", "pip install numpy")
    assert found["ray"] == (
        "warning",
        "not installed: infer needs --local",
        "pip install 'ray[data,default]'",
    )
    assert found["torch"][0] == "warning"
    assert found["pycuda"] == ("ok", "not installed: the CUDA kernels cannot run", "")


def test_lines_for_people(stack):
    outcome = stack.run()
    assert outcome.returncode == 1
    lines = outcome.stdout.splitlines()
    assert lines[0].startswith(f"ok:      Python           {sys.version.split()[0]}, ")
    numpy = next(i for i, line in enumerate(lines) if line.startswith("problem: numpy "))
    assert lines[numpy + 1] == "  hint: pip install --force-reinstall --no-deps numpy"
    assert "problems, " in lines[-1]
    assert "Traceback" not in outcome.stdout + outcome.stderr


def test_inputs_are_read_as_infer_reads_them(stack, checkpoint, photos, annotations):
    stack.block()
    given = ("--model", checkpoint, "--images", photos)
    code, found = stack.findings(*given)
    assert code == 0
    assert "ResNet18FPN, classes 3, boxes axis-aligned" in found["model"][1]
    assert found["images"][:2] == ("ok", f"26 images in {photos}, the first 8 decoded")
    _, found = stack.findings(*given, "--annotations", annotations)
    assert "category_id" in found["classes"][1]
    assert found[str(annotations)][0] == "ok"


def test_an_input_that_infer_would_refuse_is_a_problem(stack, photos):
    stack.block("torch", "ray")
    code, found = stack.findings("--model", stack.folder / "gone.onnx", "--images", photos)
    assert code == 1
    assert found["model"][0] == "problem"
    assert "gone.onnx" in found["model"][1]
    code, found = stack.findings("--images", stack.folder / "nothing")
    assert (code, found["images"][0]) == (1, "problem")
