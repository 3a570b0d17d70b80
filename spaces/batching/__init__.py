"""Many architectures of a space at once, as arrays."""
