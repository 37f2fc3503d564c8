"""Training of the demonstration model: one class, axis-aligned boxes, ODTK's recipe."""
