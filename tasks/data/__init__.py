"""From a person's files to arrays."""
