"""Networks of one repeated cell."""
