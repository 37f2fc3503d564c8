"""Counts the arithmetic of an ONNX file's network."""

from __future__ import annotations

import math
from typing import Any


def onnx_flops(path: str) -> int | None:
    """Count the additions and multiplications of the convolutions for one picture.

    Args:
        path: of a file of `odtk-ray export`, whose batch is open or 1.

    Returns:
        as `network_flops` counts them; None without the package onnx.
    """
    try:
        import onnx
    except ImportError:
        return None
    model = onnx.load(path, load_external_data=False)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes |= {value.name: _dims(value) for value in (*inferred.value_info, *inferred.output)}
    total = 0
    for node in inferred.node:
        if node.op_type == "Conv":
            # A weight is [channels out, channels in / groups, rows, columns].
            kernel = shapes[node.input[1]][1:]
            total += 2 * math.prod(kernel) * math.prod(shapes[node.output[0]][1:])
    return total


def _dims(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
