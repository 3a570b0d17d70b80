"""What comes after the features, by problem."""
