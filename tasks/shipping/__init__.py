"""What one ships: a file that says what it is, an example for it, a model card."""
