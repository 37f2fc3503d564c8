"""Upsampling outside INT8, for a TensorRT that cannot do it inside."""

from __future__ import annotations

from typing import Any


def resize_floats(trt: Any, network: Any) -> None:
    """Give resizes the tensor that was quantised instead of the dequantised one.

    TensorRT 8.6 has no kernel for a resize between Quantize and Dequantize ("could not find any
    implementation for node ...P4.upsample", on an H100).

    Args:
        trt: the package.
        network: an INetworkDefinition, changed in place.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    made_by = {
        layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)
    }
    for layer in layers:
        if layer.type != trt.LayerType.RESIZE:
            continue
        dequantize = made_by.get(layer.get_input(0).name)
        if dequantize is not None and dequantize.type == trt.LayerType.DEQUANTIZE:
            quantize = made_by[dequantize.get_input(0).name]
            layer.set_input(0, quantize.get_input(0))
