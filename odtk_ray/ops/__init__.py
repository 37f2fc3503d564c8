"""Pure tensor functions with ODTK's CUDA semantics: the definition of every kernel."""
