"""What was exported against what it was made of: detections, average precision, layers."""
