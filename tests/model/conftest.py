"""A small checkpoint that ODTK could have written, and variants of its file."""

import pytest
import torch
from odtk_files import SMALL, odtk_file


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
