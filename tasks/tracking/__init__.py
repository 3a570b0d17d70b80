"""MLflow, and nothing else of it anywhere."""
