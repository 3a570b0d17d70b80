"""Readers of people's data: one file a format, each with ``read(source) -> RawData``."""
