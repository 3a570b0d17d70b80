"""What search algorithms share."""
