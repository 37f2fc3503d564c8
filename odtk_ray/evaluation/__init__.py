"""Detections and ground truth to COCO's figures, intervals and differences."""
