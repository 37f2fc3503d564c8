"""INT8: calibrates ranges, and chooses where the graph is quantised."""
