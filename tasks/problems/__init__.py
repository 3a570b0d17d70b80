"""The menu of problems: data, head, loss and metrics of a machine learning task."""
