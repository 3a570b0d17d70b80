"""What it costs. Reads ``spaces.graph`` and nothing else of spaces; no TensorFlow."""
