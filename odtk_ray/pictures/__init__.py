"""Drawing: detections into pictures, annotations onto a sheet."""
