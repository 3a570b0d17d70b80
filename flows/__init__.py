"""Which tasks, in what order, how often."""
