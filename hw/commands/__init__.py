"""What ``python -m hw`` can do, for people."""
