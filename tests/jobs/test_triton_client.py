"""The example of a client: its requests, and what it makes of answers, in Triton's own messages."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from PIL import Image

from odtk_ray.artifacts.exported_model import read_exported
from odtk_ray.cli.program import cli
from odtk_ray.engines.onnxruntime import OnnxRuntimeEngine
from odtk_ray.images.decode_image import load_picture
from odtk_ray.settings import Preprocessing

triton = pytest.importorskip("tritonclient.grpc")


def message(tensor):
    """A tensor as it goes over the wire."""
    infos = {"scores": "FP32", "boxes": "FP32", "classes": "INT32"}
    answer = triton.service_pb2.ModelInferResponse()
    for name, array in zip(infos, tensor, strict=True):
        answer.outputs.add(name=name, datatype=infos[name], shape=array.shape)
        answer.raw_output_contents.append(array.tobytes())
    return triton.InferResult(answer)


def test_the_client_finds_what_infer_finds(ranked, photos, tmp_path):
    import onnxruntime
    from triton_client import detections, make_request
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    arguments = ["export", ranked, tmp_path, "--triton", "m", "--size", 96, 160]
    assert CliRunner().invoke(cli, list(map(str, arguments))).exit_code == 0
    text = (tmp_path / "m" / "config.pbtxt").read_text("utf-8")
    config, file = text_format.Parse(text, ModelConfig()), tmp_path / "m" / "1" / "model.onnx"
    image = photos / "p001.jpg"

    (request,), ratio = make_request(Image.open(image).convert("RGB"), config)
    sent = np.frombuffer(request._get_content(), np.float32).reshape(request.shape())
    answer = onnxruntime.InferenceSession(file).run(None, {request.name(): sent})
    found = list(detections(message(answer), config, ratio))

    about = read_exported(file)
    engine = OnnxRuntimeEngine(str(file), about.post, launch_batch=1)
    picture = load_picture(image.read_bytes(), Preprocessing(fit=about.size))
    (expected,) = engine.detect([picture.pixels], about.size)
    assert picture.ratio == ratio
    assert len(found) == len(expected.scores) > 5
    assert [label for label, _, _ in found] == list(map(str, expected.classes))
    np.testing.assert_allclose([s for _, s, _ in found], expected.scores, atol=1e-4)
    boxes = np.array([box for _, _, box in found])
    np.testing.assert_allclose(boxes, expected.boxes / np.float32(ratio), atol=0.05)
