"""Families of networks: what is decided in each, and the graph that follows."""
