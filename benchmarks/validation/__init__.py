"""What the cost model is worth, set by set; put together by ``benchmarks.cost_models``."""
