"""Compares an export with its source: detections, average precision, layer precisions."""
