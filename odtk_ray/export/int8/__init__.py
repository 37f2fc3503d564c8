"""INT8: ranges of a calibration, and where the graph is quantised."""
