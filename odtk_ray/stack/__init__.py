"""Examines what odtk-ray runs on: libraries, GPUs, the machine, the nodes of a cluster.

Modules here import nothing but the standard library at first: they work where numpy is missing.
"""
