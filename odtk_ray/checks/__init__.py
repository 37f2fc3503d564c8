"""Checks users' annotation files before a run or a training depends on them."""
