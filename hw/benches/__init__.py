"""Benches, one a file; :func:`hw.bench.load_bench` finds them by name."""
