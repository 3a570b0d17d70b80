"""Architectures that are looked at: their costs, their scores, and who goes on."""
