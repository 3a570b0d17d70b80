"""Inverted bottlenecks: depthwise, fused, and with group convolution."""
