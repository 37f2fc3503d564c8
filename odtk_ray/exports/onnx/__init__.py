"""From checkpoints to ONNX graphs."""
