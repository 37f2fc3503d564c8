"""Distributed RetinaNet inference, evaluation and TensorRT export on Ray."""

__version__ = "0.1.0"
