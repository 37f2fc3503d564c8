"""What exported files say about themselves, read without torch, Ray and onnx."""
