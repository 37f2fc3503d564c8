"""Models that plans are built from, and ground truth that models find."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from odtk_ray.cli.program import cli
from odtk_ray.datasets.rotated_boxes import corners
from odtk_ray.images.decode_image import load_picture
from odtk_ray.records import to_bbox
from odtk_ray.settings import Postprocessing, Preprocessing

SIZE = (64, 96)


def _export(*arguments):
    outcome = CliRunner().invoke(cli, ["export", *map(str, arguments)])
    assert outcome.exit_code == 0, outcome.output


@pytest.fixture(scope="session")
def plan_models(checkpoint, rotated_checkpoint, photos, tmp_path_factory):
    """A folder of ONNX files of 64x96 pixels: axis-aligned and turned, in FP32, FP16 and INT8."""
    folder = tmp_path_factory.mktemp("plans")
    calibration = ("--int8", "--calibration-images", photos, "--calibration-method", "max",
                   "--calibration-batches", 1)  # fmt: skip
    for name, source, more in (
        ("fp32", checkpoint, ()),
        ("half", checkpoint, ("--half",)),
        ("int8", checkpoint, calibration),
        ("int8_half", checkpoint, ("--half", *calibration)),
        ("ended", checkpoint, ("--with-postprocess",)),
        ("plugin", checkpoint, ("--with-postprocess", "--plugin")),
        ("turned_fp32", rotated_checkpoint, ()),
        ("turned_int8", rotated_checkpoint, calibration),
    ):
        _export(source, folder / f"{name}.onnx", "--size", *SIZE, *more)
    return folder


@pytest.fixture(scope="session")
def find_truth(photos, tmp_path_factory):
    """Makes annotations of what a checkpoint finds in the first eight pictures.

    Its AP is not 1: random weights give many boxes that clipping inverts or leaves with less than a
    pixel, which are left out: rounding decides about the overlap of slivers.
    """
    from odtk_ray.engines.pytorch import PyTorchEngine
    from odtk_ray.model.checkpoint import load_checkpoint

    def find(checkpoint, size):
        engine = PyTorchEngine(load_checkpoint(checkpoint), Postprocessing(0.4), launch_batch=1)
        images, annotations = [], []
        for number, path in enumerate(sorted(photos.iterdir())[:8]):
            picture = load_picture(path.read_bytes(), Preprocessing(fit=size))
            images.append({"id": number, "file_name": path.name,
                           "width": picture.width, "height": picture.height})  # fmt: skip
            (found,) = engine.detect([picture.pixels], size)
            boxes = found.boxes.copy()
            boxes[:, :4] /= np.float32(picture.ratio)
            for label, bbox in zip(found.classes.tolist(), to_bbox(boxes), strict=True):
                if min(bbox[2:4]) >= 1:
                    entry = {"id": len(annotations) + 1, "image_id": number, "category_id": label,
                             "bbox": bbox.tolist(), "area": bbox[2] * bbox[3]}  # fmt: skip
                    if len(bbox) == 5:
                        entry["segmentation"] = [corners(bbox[None]).ravel().tolist()]
                    annotations.append(entry)
        path = tmp_path_factory.mktemp("truth") / "truth.json"
        categories = [{"id": i, "name": str(i)} for i in range(3)]
        path.write_text(json.dumps({"images": images, "annotations": annotations,
                                    "categories": categories}), encoding="utf-8")  # fmt: skip
        return path

    return find


@pytest.fixture
def rtx():
    """TensorRT for RTX, which builds without a GPU."""
    return pytest.importorskip("tensorrt_rtx")
