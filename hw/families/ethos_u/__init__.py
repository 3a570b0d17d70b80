"""Arm Ethos-U: microNPUs beside a Cortex-M or a Cortex-A, compiled for by Vela."""
