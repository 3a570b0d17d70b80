"""The menu of search spaces: each file exposes ``SPACE`` and ``BASELINES``."""
