"""Reads images to run on and ground truth: image folders, COCO and DOTA files, classes."""
