"""Reads what to run on, and the truth: image folders, COCO and DOTA files, classes."""
