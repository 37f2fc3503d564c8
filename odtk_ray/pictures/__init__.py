"""Draws detections into pictures, and annotations onto a sheet."""
