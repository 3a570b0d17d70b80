"""Timing and compiling for real: what benches share, and rows for a calibration."""
