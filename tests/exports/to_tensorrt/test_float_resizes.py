"""Resizes leave INT8, in a network of the real parser, which can still be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from odtk_ray.engines.tensorrt_package import Interruption, make_logger
from odtk_ray.exports.tensorrt.float_resizes import resize_floats


@pytest.fixture
def parsed(rtx, plan_models):
    """A builder, and the INT8 model as a network."""
    log = make_logger(rtx, [])
    builder = rtx.Builder(log)
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx.OnnxParser(network, log)
    assert parser.parse(Path(plan_models / "int8.onnx").read_bytes())
    return builder, network, log, parser


def sources(rtx, network):
    """Kinds of the layers whose output each resize takes."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    made_by = {layer.get_output(0).name: layer.type for layer in layers}
    resizes = [layer for layer in layers if layer.type == rtx.LayerType.RESIZE]
    return [made_by[layer.get_input(0).name] for layer in resizes]


def test_resizes_take_what_was_quantised(rtx, parsed):
    builder, network, *_ = parsed
    quantised = rtx.LayerType.DEQUANTIZE
    assert sources(rtx, network) == [quantised, quantised]
    resize_floats(rtx, network)
    found = sources(rtx, network)
    assert len(found) == 2
    assert quantised not in found
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(rtx.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("input_1", (1, 3, 64, 96), (1, 3, 64, 96), (2, 3, 64, 96))
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None


def test_what_a_callback_raises_is_kept(rtx):
    """TensorRT would print it and go on; a signal's exception arrives this way."""

    class Interrupting(str):
        def strip(self, *_):
            raise KeyboardInterrupt

    interruption = Interruption()
    log = make_logger(rtx, [], interruption=interruption)
    log.log(rtx.ILogger.Severity.ERROR, Interrupting("text"))
    assert isinstance(interruption.error, KeyboardInterrupt)
    log.log(rtx.ILogger.Severity.ERROR, "a later message")
    assert isinstance(interruption.error, KeyboardInterrupt)
