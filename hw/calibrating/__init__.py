"""From measured latencies to coefficients, a correction and intervals."""
