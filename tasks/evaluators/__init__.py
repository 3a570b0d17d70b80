"""Ways to score a candidate: one file each, exposing ``EVALUATOR``."""
