"""What a run's settings hold of the software that computes them."""

from __future__ import annotations

import pickle
import pickletools

import torch

from odtk_ray.config import InferConfig
from odtk_ray.model.open_model import open_model
from odtk_ray.run.fingerprint import fingerprint


def test_settings_travel_without_torch(checkpoint):
    """Its version is no plain string: a worker would import torch before it could do anything."""
    config = InferConfig(str(checkpoint))
    settings = fingerprint(config, open_model(config, str(checkpoint)), "")
    assert settings.versions["torch"] == torch.__version__
    words = (word for _, word, _ in pickletools.genops(pickle.dumps(settings)))
    assert [word for word in words if str(word).startswith("torch.")] == []
