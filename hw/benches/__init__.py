"""Benches, one a file; :func:`hw.measuring.bench.load_bench` finds them by name."""
