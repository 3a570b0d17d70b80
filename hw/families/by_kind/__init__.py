"""Processors and accelerators whose laws nobody told: time by kind of op, to be calibrated."""
