"""Kinds of data: one file each, with ``KIND``: how to load a sample, which arrays to make."""
