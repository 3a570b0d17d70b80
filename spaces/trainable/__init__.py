"""Graphs that learn: the only TensorFlow of this room."""
