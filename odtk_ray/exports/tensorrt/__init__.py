"""Builds TensorRT plans from checkpoints or ONNX files."""
