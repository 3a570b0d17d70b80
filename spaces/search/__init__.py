"""The menu of search algorithms: each file exposes ``ALGORITHM``."""
