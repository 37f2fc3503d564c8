"""Evaluates detections against ground truth: COCO's figures, intervals, differences."""
