"""Descriptions of exported files, read without torch, Ray and onnx."""
