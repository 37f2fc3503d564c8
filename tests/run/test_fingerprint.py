"""What a run's settings hold of the software that computes them."""

from __future__ import annotations

import pickle
import pickletools

import pytest
import torch
from click.testing import CliRunner
from synthetic import picture

from odtk_ray.cli.program import cli
from odtk_ray.config import InferConfig
from odtk_ray.model.open_model import open_model
from odtk_ray.run import fingerprint as module
from odtk_ray.run.fingerprint import fingerprint


def test_settings_travel_without_torch(checkpoint):
    """Its version is no plain string: a worker would import torch before it could do anything."""
    config = InferConfig(str(checkpoint))
    settings = fingerprint(config, open_model(config, str(checkpoint)), "")
    assert settings.versions["torch"] == torch.__version__
    words = (word for _, word, _ in pickletools.genops(pickle.dumps(settings)))
    assert [word for word in words if str(word).startswith("torch.")] == []


@pytest.mark.parametrize(("folder", "words"), [
    ("photos", "it was begun with odtk-ray 0.1.0, and this is odtk-ray 1.0.0"),
    ("others", "images differs"),
])  # fmt: skip
def test_an_upgrade_resumes_no_run(checkpoint, tmp_path, monkeypatch, folder, words):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "others"):
        (tmp_path / name).mkdir()
        picture(1, 60, 40).save(tmp_path / name / "1.jpg")
    line = ["infer", str(checkpoint), "--resize", "64", "--local", "--keep-run", "--images"]
    monkeypatch.setattr(module, "__version__", "0.1.0")
    assert CliRunner().invoke(cli, [*line, "photos"]).exit_code == 0
    before = (tmp_path / "detections.json").read_bytes()
    monkeypatch.setattr(module, "__version__", "1.0.0")
    outcome = CliRunner().invoke(cli, [*line, folder, "--resume"])
    assert outcome.exit_code == 2
    assert words in outcome.stderr
    assert (tmp_path / "detections.json").read_bytes() == before
    assert (tmp_path / "detections.json.run" / "plan.json").exists()
    monkeypatch.setattr(module, "__version__", "0.1.0")
    assert CliRunner().invoke(cli, [*line, "photos", "--resume"]).exit_code == 0
