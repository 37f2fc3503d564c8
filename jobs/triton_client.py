"""Detect objects in one image by a model that Triton serves, as `export --triton` wrote it.

python jobs/triton_client.py photo.jpg --model trees --url localhost:8001

This needs `pip install 'tritonclient[grpc]' pillow numpy`, and neither odtk-ray nor PyTorch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from PIL import Image


def make_request(image: Image.Image, config: Any) -> tuple[list[triton.InferInput], float]:
    """Fit an image into the network input, and normalise it as the model's configuration says.

    Args:
        image: RGB.
        config: ModelConfig of the model.

    Returns:
        the inputs of a request, and pixels of the network input for one of the image's.
    """
    height, width = config.input[0].dims[1:]
    mean, std = (json.loads(config.parameters[name].string_value) for name in ("mean", "std"))
    ratio = min(width / image.width, height / image.height)
    size = int(ratio * image.width), int(ratio * image.height)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    batch = np.zeros((1, 3, height, width), np.float32)
    batch[0, :, : size[1], : size[0]] = ((pixels / 255 - mean) / std).transpose(2, 0, 1)
    tensor = triton.InferInput(config.input[0].name, batch.shape, "FP32")
    tensor.set_data_from_numpy(batch)
    return [tensor], ratio


def detections(result: Any, config: Any, ratio: float) -> Iterator[tuple[str, float, list[float]]]:
    """Yield class, score and box of each detection: x1, y1, x2, y2 in pixels of the image.

    Of a rotated box sin and cos of its angle follow.
    """
    scores, boxes, classes = (result.as_numpy(output.name)[0] for output in config.output)
    names = json.loads(config.parameters["class_names"].string_value)
    for score, box, label in zip(scores, boxes, classes, strict=True):
        if score > 0:  # unused slots have score 0
            ends = [*(box[:4] / ratio).tolist(), *box[4:].tolist()]
            yield names[label] if names else str(label), float(score), ends


def main() -> None:
    """Send an image to a server and print what it finds."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("image")
    parser.add_argument("--model", required=True, help="name in the model repository")
    parser.add_argument("--url", default="localhost:8001", help="of Triton's gRPC service")
    wanted = parser.parse_args()
    server = triton.InferenceServerClient(wanted.url)
    config = server.get_model_config(wanted.model).config
    request, ratio = make_request(Image.open(wanted.image).convert("RGB"), config)
    for name, score, box in detections(server.infer(wanted.model, request), config, ratio):
        print(f"{name} {score:.3f}", *(f"{value:.1f}" for value in box))


if __name__ == "__main__":
    main()
