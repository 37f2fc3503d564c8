"""Engines: each turns a batch of pictures into detections."""
