"""What a calibration of an Edge TPU fits."""

from __future__ import annotations

COEFFICIENTS: dict[str, float] = {
    "chip.clock_mhz": 0.2,
    "chip.depthwise_factor": 1.5,
    "chip.pool_factor": 2.0,
    "chip.small_window_factor": 0.6,
    "chip.instruction_bytes_per_op": 0.6,
    "chip.activation_gb_per_s": 2.0,
    "chip.overflow_gb_per_s": 1.0,
    "chip.weight_gb_per_s": 2.0,
    "chip.convolution_us": 1.5,
    "chip.window_us": 1.5,
    "chip.elementwise_us": 1.5,
    "chip.pool_us": 1.5,
    "chip.movement_us": 1.5,
    "link.fixed_ms": 1.0,
    "link.input_mb_per_s": 0.8,
    "link.output_mb_per_s": 1.0,
    "link.streaming_ms_per_mib": 0.6,
    "host.gmacs_per_s": 1.5,
    "host.elements_per_us": 1.5,
    "host.scores_per_us": 2.0,
    "host.op_us": 1.5,
}
"""What is fitted, and the standard deviation of the logarithm within which it is expected.

Assumed: a link is known better than the starts of ops, the clock best. Chosen wide, as ten
networks of one laboratory were enough to move a profile of another to them."""
