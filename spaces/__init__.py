"""What can be built, and how to walk it. No hardware; TensorFlow in ``trainable`` only."""
