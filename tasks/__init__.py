"""One unit of work each: typed inputs to artifact and metrics."""
