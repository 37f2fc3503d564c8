"""Exports checkpoints to ONNX and TensorRT, for machines without PyTorch."""
