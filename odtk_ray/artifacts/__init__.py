"""What exported files say of themselves, read without torch, Ray and onnx."""
