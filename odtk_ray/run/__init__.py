"""The batch job from plan to outputs; pipeline.py is the page to read first."""
