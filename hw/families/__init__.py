"""Families of accelerators, one a folder; :func:`hw.device.load_device` finds them by name."""
