"""Bottlenecks with a head that draws masks."""
