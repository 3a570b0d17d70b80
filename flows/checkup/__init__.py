"""What ``python -m flows doctor`` looks at: a file for each subject, each with ``look``."""
