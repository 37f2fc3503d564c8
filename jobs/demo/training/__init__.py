"""Training of the demonstration models: trees with upright boxes, shapes with rotated ones."""
