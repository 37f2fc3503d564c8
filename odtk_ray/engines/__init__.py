"""What turns a batch of pictures into detections."""
