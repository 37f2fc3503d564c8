"""From checkpoints to ONNX and TensorRT: what runs where PyTorch is not."""
