"""Libraries that were loaded from elsewhere than they are installed, found in a real process."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

import pytest

from odtk_ray.stack.finding import Level
from odtk_ray.stack.loaded_files import check_loaded_files
from odtk_ray.stack.prober import Prober

NAME = "libnccl.so.99"  # no version that anybody has


def load(path):
    ctypes.CDLL(path)


@pytest.fixture
def prober(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    with Prober() as made:
        yield made


@pytest.fixture
def copy(tmp_path):
    """Any shared library under the name of one of NVIDIA's, in a folder."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    library = next(line.split()[-1] for line in lines if "/libm.so" in line or "/libm-" in line)

    def make(folder):
        path = tmp_path / folder / NAME
        path.parent.mkdir(parents=True)
        shutil.copy(library, path)
        return str(path)

    return make


def test_nothing_of_nvidia(prober):
    (found,) = check_loaded_files(prober)
    assert (found.level, found.text) == (Level.OK, "no library of NVIDIA's is loaded")


def test_one_copy_is_as_it_should_be(prober, copy):
    prober.ask(load, copy("lib"))
    (found,) = check_loaded_files(prober)
    assert (found.level, found.text) == (Level.OK, "1 library, each once")


def test_a_copy_beside_the_installed_one(copy, tmp_path, monkeypatch):
    installed, other = copy("site/nvidia/cu13/lib"), copy("usr/lib")
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with Prober() as prober:
        prober.ask(load, other)
        (found,) = check_loaded_files(prober)
        assert found.level is Level.WARNING
        assert found.text.startswith(f"{other} is loaded, not ")
        assert "LD_LIBRARY_PATH" in found.remedy
        prober.ask(load, installed)
        twice, stranger = check_loaded_files(prober)
        assert twice.text == f"{NAME} is loaded twice: {installed} and {other}"
        assert stranger == found
