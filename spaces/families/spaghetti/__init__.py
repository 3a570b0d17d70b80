"""Detectors whose heads are graphs of nodes."""
